// Makes noVNC connect by itself, come back after a reboot and fit the window, unless the URL says otherwise.
(function () {
    "use strict";
    const query = new URLSearchParams(window.location.search);
    const wishes = { autoconnect: "true", reconnect: "true", reconnect_delay: "2000", resize: "scale" };
    for (const [name, value] of Object.entries(wishes)) {
        if (!query.has(name)) {
            query.set(name, value);
        }
    }
    window.history.replaceState(null, "", "?" + query.toString() + window.location.hash);
})();
