// A terminal on a guest's serial port. The port has no idea of a window, so its size is the one that guests expect.
(function () {
    "use strict";
    // What a browser says of a close without a code, which is how a link that opens nothing is answered.
    const REFUSED = 1005;
    const PAUSE_MS = 2000;
    const TRIES = 60;

    const status = document.getElementById("status");
    const terminal = new Terminal({ cols: 80, rows: 24, scrollback: 10000, cursorBlink: true });
    terminal.open(document.getElementById("terminal"));
    terminal.focus();

    const query = new URLSearchParams(window.location.search);
    const folder = window.location.pathname.replace(/[^/]*$/, "");
    const scheme = window.location.protocol === "https:" ? "wss://" : "ws://";
    // Either the token, or noVNC's way: a path with the token in it.
    const path = query.has("token")
        ? folder + "?token=" + encodeURIComponent(query.get("token"))
        : "/" + (query.get("path") || "");
    const encoder = new TextEncoder();
    let socket = null;
    let failures = 0;

    function send(bytes) {
        if (socket !== null && socket.readyState === WebSocket.OPEN) {
            socket.send(bytes);
        }
    }

    terminal.onData((text) => send(encoder.encode(text)));
    // What is no text, such as some reports of the mouse: one byte a character.
    terminal.onBinary((text) => send(Uint8Array.from(text, (character) => character.charCodeAt(0) & 255)));

    function connect() {
        socket = new WebSocket(scheme + window.location.host + path, ["binary"]);
        socket.binaryType = "arraybuffer";
        socket.onopen = () => {
            status.textContent = "Connected. Press Enter if nothing shows.";
        };
        socket.onmessage = (event) => {
            failures = 0;
            terminal.write(typeof event.data === "string" ? event.data : new Uint8Array(event.data));
        };
        socket.onclose = (event) => {
            if (event.code === REFUSED) {
                status.textContent = "This link opens no console (any more): ask for a new one.";
                return;
            }
            const reason = event.reason || "The connection was lost.";
            failures += 1;
            if (failures > TRIES) {
                status.textContent = reason;
                return;
            }
            status.textContent = reason + " Trying again...";
            window.setTimeout(connect, PAUSE_MS);
        };
    }

    connect();
})();
