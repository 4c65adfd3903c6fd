// A proxy in front of the server that passes no WebSockets: no reload mends that, so the person is told what it is.

/** Asks once a signalling socket closed that was never open; `tell` is called when that was such a proxy's doing. */
function watchForProxy(socket, tell) {
    let wasOpen = false;
    socket.addEventListener("open", () => { wasOpen = true; });
    socket.addEventListener("close", async () => {
        if (!wasOpen && (await call("GET", "_neck/status")).json.websockets === "blocked") {
            tell();
        }
    });
}
