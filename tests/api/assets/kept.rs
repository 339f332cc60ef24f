//! What is asked of the CDN once and kept, and what the widget finds at the root of its own origin.

use serde_json::Value;
use tokio::task::JoinSet;

use super::{ASSETS, Cdn, FONT, NOWHERE, get};
use crate::support::server::TestServer;

#[tokio::test(flavor = "multi_thread")]
async fn what_the_widget_names_by_its_address_at_the_root_is_here_too_where_the_files_come_from_here()
 {
    let cdn = Cdn::start().await;
    let server = cdn.proxy(&[]);
    for path in ["/assets/ck1/font.woff2", "/assets/ck1/deep/er/font.woff2"] {
        let answer = server.get(path).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "font/woff2");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert_eq!(answer.bytes().await.expect("bytes"), FONT, "{path}");
    }
    for path in
        ["/assets/ck1/nope.css", "/assets/ck1/%2e%2e/x", "/assets/ck1/", "/assets/other/x.js"]
    {
        let answer = server.get(path).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(
            answer.json::<Value>().await.expect("JSON")["error"]["code"],
            "not_found",
            "{path}"
        );
    }
    let posted = server.post("/assets/ck1/font.woff2").send().await.expect("an answer");
    assert_eq!(posted.status(), 405);
    let off = TestServer::hosted(NOWHERE, &[("CHATKIT_ASSETS", "cdn")]);
    let answer = off.get("/assets/ck1/font.woff2").send().await.expect("an answer");
    assert_eq!(answer.status(), 404, "`cdn` proxies nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cdn_is_asked_once_for_what_many_want_and_again_for_what_it_wants_nobody_to_keep() {
    let cdn = Cdn::start().await;
    let server = cdn.proxy(&[]);
    let asked =
        |path: &str| cdn.requests().iter().filter(|(target, _)| target.ends_with(path)).count();
    let mut many = JoinSet::new();
    for _ in 0..20 {
        many.spawn(server.get(&format!("{ASSETS}ck1/slow.js")).send());
    }
    while let Some(answer) = many.join_next().await {
        let answer = answer.expect("no panic").expect("an answer");
        assert_eq!(answer.text().await.expect("text"), "slow");
    }
    assert_eq!(asked("/assets/ck1/slow.js"), 1, "at once");
    for path in ["ck1/slow.js", "ck1/nope.js", "ck1/nope.js", "ck1/fresh.js", "ck1/fresh.js"] {
        let _ = get(&server, path).await.bytes().await.expect("bytes");
    }
    assert_eq!(asked("/assets/ck1/slow.js"), 1, "and later");
    assert_eq!(asked("/assets/ck1/nope.js"), 1, "that there is none is kept for some seconds");
    assert_eq!(asked("/assets/ck1/fresh.js"), 2, "no-store");
    let brotli = server.get(&format!("{ASSETS}ck1/slow.js")).header("accept-encoding", "gzip, br");
    assert_eq!(brotli.send().await.expect("an answer").status(), 200);
    let (_, sent) = cdn.requests().pop().expect("another request");
    assert_eq!(sent["accept-encoding"], "br", "compressed is another file");
    assert_eq!(asked("/assets/ck1/slow.js"), 2);
}
