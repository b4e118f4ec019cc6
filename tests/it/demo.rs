//! The demo itself: a newcomer's first contact must hold.

use usher_sandbox::demo::{self, Args};

#[tokio::test]
async fn the_demo_tells_its_story_to_the_end() {
    let mut told = Vec::new();
    let ended = demo::run(Args::default(), &mut told).await;
    let told = String::from_utf8(told).unwrap();
    assert!(ended.is_ok(), "{}\n{told}", ended.unwrap_err());
    for words in [
        "All 16 are Ready",
        "pegasus       users: ada@example.com, babbage@example.com; groups: Fleet North",
        "amani         users: grace@example.com",
        "plaspy        users: katherine@example.com; groups: Trucks",
        "industrility  users: hedy@example.com",
        "ozmap         users: radia@example.com; groups: Coast",
        r#"Pegasus knows "+44 20 7946 0001""#,
        r#"Plaspy says she is "Dispatcher""#,
        "At OZmap no account of hers is left",
        "nothing is left running",
    ] {
        assert!(told.contains(words), "{words} is missing in\n{told}");
    }
}
