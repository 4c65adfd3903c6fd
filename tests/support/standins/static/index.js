// The list of hosts and their apps, each a link to its stream.
import CONFIG from "./config.js"

async function show() {
    const list = document.getElementById("host-list")
    const reply = await fetch(`${CONFIG.path_prefix}/api/hosts`)
    const [first] = (await reply.text()).split("\n")
    for (const host of JSON.parse(first).hosts) {
        const { apps } = await (await fetch(`${CONFIG.path_prefix}/api/apps?host_id=${host.host_id}`)).json()
        for (const app of apps) {
            const link = document.createElement("a")
            link.href = `${CONFIG.path_prefix}/stream.html?hostId=${host.host_id}&appId=${app.app_id}`
            link.textContent = `${host.name}: ${app.title}`
            list.appendChild(document.createElement("li")).appendChild(link)
        }
    }
}

show()
