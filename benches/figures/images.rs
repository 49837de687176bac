//! What making an image costs a running guest, and what shelving takes: `tests/hermetic cargo bench -- images`.
//!
//! The guest measures for itself how long it stood still at the longest, second by second, before the image is made and
//! while it is. DWARFNOVA_TEST_GUEST names the guest image.

use crate::support::{Client, Lab, ms, row};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Tells each second how many hundredths of a second the guest stood still at the longest. It never sleeps and starts no
/// program: under software emulation that alone takes longer than what is measured.
const CLOCK: &str = r#"#!/bin/sh
cat > /root/clock <<'END'
read -r up rest < /proc/uptime; last="${up%.*}${up#*.}"; worst=0; told=$last
while :; do
    read -r up rest < /proc/uptime; at="${up%.*}${up#*.}"
    gap=$((at - last)); last=$at
    [ "$gap" -le "$worst" ] || worst=$gap
    [ $((at - told)) -ge 100 ] || continue
    echo "STALL $worst" > /dev/ttyS0
    worst=0; told=$at
done
END
sh /root/clock < /dev/null > /dev/null 2>&1 &
"#;
/// Seconds of the clock that are waited for.
const SECONDS: usize = 8;
/// Seconds before them, in which the guest is still busy with itself.
const SETTLING: usize = 8;

pub fn run() {
    let Some(lab) = Lab::open("images", "") else { return };
    lab.wait(measure(&lab));
}

async fn measure(lab: &Lab) {
    let client = &lab.client;
    let body = json!({"server": {"name": "bench", "imageRef": lab.image, "flavorRef": "42", "config_drive": true,
        "networks": "none", "user_data": STANDARD.encode(CLOCK)}});
    let id = lab.ask(&body).await;
    client.wait_for(&id, "ACTIVE").await;
    let calm = stalls(client, &id, SETTLING + SECONDS).await;

    let start = Instant::now();
    act(client, &id, &json!({"createImage": {"name": "bench-image"}})).await;
    idle(client, &id).await;
    row("image of a running guest: POST to active", &ms(start.elapsed()));
    let all = stalls(client, &id, calm.len() + 2).await;
    let worst = |seconds: &[u64]| Duration::from_millis(seconds.iter().copied().max().unwrap() * 10);
    row("  the guest's longest stall meanwhile", &ms(worst(&all[calm.len()..])));
    row("  and before", &ms(worst(&calm[SETTLING..])));

    for (what, action, status) in
        [("shelve and offload", "shelve", "SHELVED_OFFLOADED"), ("unshelve", "unshelve", "ACTIVE")]
    {
        let start = Instant::now();
        act(client, &id, &json!({ action: null })).await;
        client.wait_for(&id, status).await;
        row(&format!("{what}: POST to {status}"), &ms(start.elapsed()));
        idle(client, &id).await;
    }
    assert_eq!(client.delete(&format!("/v2.1/servers/{id}")).await, 204);
    while client.get(&format!("/v2.1/servers/{id}")).await.0 != 404 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn act(client: &Client, id: &str, action: &Value) {
    let (status, body) = client.post(&format!("/v2.1/servers/{id}/action"), action).await;
    assert_eq!(status, 202, "{body}");
}

async fn idle(client: &Client, id: &str) {
    loop {
        let (_, body) = client.get(&format!("/v2.1/servers/{id}")).await;
        if body["server"]["OS-EXT-STS:task_state"].is_null() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the guest's clock told, once there are so many seconds of it.
async fn stalls(client: &Client, id: &str, count: usize) -> Vec<u64> {
    loop {
        let body = json!({"os-getConsoleOutput": {}});
        let (_, answer) = client.post(&format!("/v2.1/servers/{id}/action"), &body).await;
        let console = answer["output"].as_str().unwrap_or_default();
        let told: Vec<u64> =
            console.lines().filter_map(|line| line.trim().strip_prefix("STALL ")?.parse().ok()).collect();
        if told.len() >= count {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
