// The last file: puts the parts together. One global name, which also keeps a second copy from starting.

Object.defineProperty(window, "__neck", { value: Object.freeze({ version: VERSION }) });
const overlay = new Overlay();
const watch = new Watch(overlay);
wrapPeerConnection(peer => watch.peer(peer));
wrapWebSocket(socket => watch.socket(socket));
takeOverExit(overlay, watch);
