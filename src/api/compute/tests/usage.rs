//! What projects had over a time.

use super::message;
use super::servers::{client, make, settle};
use serde_json::json;

#[actix_web::test]
async fn projects_are_told_what_they_had() {
    const PATH: &str = "/v2.1/os-simple-tenant-usage";
    let mut client = client().await;
    let id = make(&client, "one").await;
    let empty = client.get(PATH).await;
    assert_eq!((empty.status, empty.body), (200, json!({"tenant_usages": []})));
    settle(&client, &id).await;

    // The tests' clock stands at 2023-11-14T22:13:20; the server has been there for two hours of it.
    let launched = 1_700_000_000_000_000_i64 - 7_200_000_000;
    client
        .cloud
        .execute(format!(
            "UPDATE server SET launched_at = {launched}, vm_state = 'active', vcpus = 2, ram_mib = 512, disk_gib = 1, \
             ephemeral_gib = 2 WHERE id = '{id}'"
        ))
        .await;
    let period = "start=2023-11-14T21:13:20&end=2030-01-01T00:00:00.5";
    let all = client.get(&format!("{PATH}?{period}")).await.body;
    let project = all["tenant_usages"][0]["tenant_id"].as_str().unwrap().to_owned();
    assert_eq!(
        all,
        json!({"tenant_usages": [{
            "tenant_id": project, "start": "2023-11-14T21:13:20.000000", "stop": "2023-11-14T22:13:20.000000",
            "total_hours": 1.0, "total_vcpus_usage": 2.0, "total_memory_mb_usage": 512.0, "total_local_gb_usage": 3.0,
        }]})
    );
    let one = client.get(&format!("{PATH}/{project}?{period}")).await.body;
    let server = &one["tenant_usage"]["server_usages"][0];
    assert_eq!(
        (
            &server["instance_id"],
            &server["state"],
            &server["uptime"],
            &server["hours"],
            &server["started_at"]
        ),
        (&json!(id), &json!("active"), &json!(7200), &json!(1.0), &json!("2023-11-14T20:13:20.000000"))
    );
    assert_eq!((&server["ended_at"], &server["local_gb"]), (&json!(null), &json!(3)));
    let detailed = client.get(&format!("{PATH}?{period}&detailed=1")).await.body;
    assert_eq!(detailed["tenant_usages"][0]["server_usages"][0], *server);
    let nobody = client.get(&format!("{PATH}/nobody?{period}")).await;
    assert_eq!((nobody.status, nobody.body), (200, json!({"tenant_usage": {}})));

    assert_eq!(client.get(&format!("{PATH}/?{period}")).await.status, 404);

    for (query, words) in [
        ("start=x", "Invalid datetime string: Datetime is in invalid format"),
        (
            "start=2023-01-02T00:00:00&end=2023-01-01T00:00:00",
            "Invalid start time. The start time cannot occur after the end time.",
        ),
    ] {
        let refused = client.get(&format!("{PATH}?{query}")).await;
        assert_eq!((refused.status, message(&refused)), (400, words));
    }
    assert_eq!(client.get(&format!("{PATH}?limit=x&zz=1")).await.status, 200);
    let client = client.at("2.40");
    let page = client.get(&format!("{PATH}?{period}&limit=1")).await.body;
    let next = page["tenant_usages_links"][0]["href"].as_str().unwrap();
    assert!(next.contains(&format!("marker={id}")), "{next}");
    let last = client.get(&format!("{PATH}?{period}&limit=1&marker={id}")).await.body;
    assert_eq!(last, json!({"tenant_usages": []}));
    let unknown = client.get(&format!("{PATH}?{period}&marker=e8debdc0-447a-4376-a10a-4cd9122d7986")).await;
    let words = "Marker e8debdc0-447a-4376-a10a-4cd9122d7986 could not be found.";
    assert_eq!((unknown.status, message(&unknown)), (400, words));
}
