-- A resize that waits to confirm itself waits as everything does that is due at a time: in a task `due`, which names the moment
-- since when the server waits, in microseconds. The server remembers that moment as text with up to six decimals.
UPDATE task SET
    workflow = 'due',
    subject = 'confirm ' || waiting.server || ' ' || waiting.since,
    state = json_object('server', waiting.server, 'occasion', 'Confirm', 'since', waiting.since)
FROM (
    SELECT id, server, ifnull(unixepoch(finished_at) * 1000000
        + CAST(substr(trim(substr(finished_at, 20), '.Z') || '000000', 1, 6) AS INTEGER), 0) AS since
    FROM (
        SELECT task.id, task.state ->> '$.server' AS server, server.resize ->> '$.finished_at' AS finished_at
        FROM task LEFT JOIN server ON server.id = task.state ->> '$.server'
        WHERE task.workflow = 'server_resize_window' AND task.status IN ('pending', 'running', 'unwinding')
    )
) AS waiting
WHERE task.id = waiting.id;
