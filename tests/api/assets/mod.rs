//! chatkit.js and its files, fetched from a stand-in for OpenAI's CDN and passed on.

mod addresses;
mod kept;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::support::server::{PATIENCE, TestServer};

const NOWHERE: &str = "http://127.0.0.1:9";
const ASSETS: &str = "/api/chatkit/assets/";
const LOADER: &str = r#"const u="https://cdn.platform.openai.com/deployments/chatkit/index-aB1.html",o="https://cdn.platform.openai.com",a="https://cdn.platform.openai.com/assets/ck1/x.js";"#;
const PAGE: &str = r#"<script src="/assets/ck1/a.js"></script><link href='https://cdn.platform.openai.com/assets/ck1/a.css'><p>/x/assets/ck1/</p>"#;
const FONT: &[u8] = b"\0\xff\xfe https://cdn.platform.openai.com/assets/ck1/ stays as it is";
/// A large file comes in so many pieces of 1 MiB.
const PIECES: usize = 20;

/// The stand-in: it keeps the requests that it got.
struct Cdn {
    address: SocketAddr,
    told: Arc<Told>,
    _running: JoinSet<()>,
}

struct Told {
    requests: Mutex<Vec<(String, HeaderMap)>>,
    /// How many pieces of the large file may go out.
    pieces: Semaphore,
}

impl Cdn {
    async fn start() -> Self {
        let told = Arc::new(Told { requests: Mutex::default(), pieces: Semaphore::new(0) });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&told));
        let mut running = JoinSet::new();
        running.spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, told, _running: running }
    }

    fn requests(&self) -> Vec<(String, HeaderMap)> {
        self.told.requests.lock().unwrap().clone()
    }

    fn proxy(&self, vars: &[(&str, &str)]) -> TestServer {
        let base = format!("http://{}", self.address);
        let own = [("CHATKIT_ASSETS", "proxy"), ("CHATKIT_CDN_BASE", &base)];
        TestServer::hosted(NOWHERE, &[&own, vars].concat())
    }
}

async fn answer(State(told): State<Arc<Told>>, request: Request) -> Response {
    let (request, _) = request.into_parts();
    let target = format!("{} {}", request.method, request.uri);
    told.requests.lock().unwrap().push((target, request.headers.clone()));
    let asked = |name: &str| request.headers.get(name);
    let common = [
        ("cache-control", "public, max-age=31536000, immutable"),
        ("etag", "\"v1\""),
        ("last-modified", "Fri, 10 Oct 2025 00:00:00 GMT"),
        ("set-cookie", "__cf_bm=tracking"),
        ("cf-ray", "123"),
        ("server", "cloudflare"),
        ("strict-transport-security", "max-age=1"),
        ("access-control-allow-origin", "*"),
        ("x-request-id", "of-the-cdn"),
        ("content-security-policy", "default-src *"),
    ];
    let file = |content_type: &'static str, body: Body| {
        let mut response = (common, body).into_response();
        response.headers_mut().insert("content-type", HeaderValue::from_static(content_type));
        response
    };
    match request.uri.path() {
        _ if asked("if-none-match").is_some_and(|tag| tag == "\"v1\"") => {
            (StatusCode::NOT_MODIFIED, common).into_response()
        }
        "/deployments/chatkit/chatkit.js" => file("text/javascript", LOADER.into()),
        "/deployments/chatkit/index-aB1.html" => file("text/html; charset=utf-8", PAGE.into()),
        "/assets/ck1/font.woff2" if asked("range").is_some_and(|range| range == "bytes=2-5") => {
            let part = (StatusCode::PARTIAL_CONTENT, [("content-range", "bytes 2-5/62")]);
            (part.0, part.1, file("font/woff2", Bytes::from_static(&FONT[2..6]).into()))
                .into_response()
        }
        "/assets/ck1/font.woff2" if asked("range").is_some() => {
            let headers = [("content-range", "bytes */62"), ("content-type", "text/html")];
            (StatusCode::RANGE_NOT_SATISFIABLE, headers, "<h1>cloudflare</h1>").into_response()
        }
        "/assets/ck1/font.woff2" | "/assets/ck1/deep/er/font.woff2" => {
            file("font/woff2", Bytes::from_static(FONT).into())
        }
        "/assets/ck1/large.bin" => {
            let pieces = stream::iter(0..PIECES).then(move |piece| {
                let told = Arc::clone(&told);
                async move {
                    told.pieces.acquire().await.expect("open").forget();
                    Ok::<_, std::io::Error>(Bytes::from(vec![
                        u8::try_from(piece).expect("small");
                        1024 * 1024
                    ]))
                }
            });
            file("application/octet-stream", Body::from_stream(pieces))
        }
        "/assets/ck1/slow.js" => {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            file("text/javascript", "slow".into())
        }
        "/assets/ck1/fresh.js" => ([("cache-control", "no-store")], "fresh").into_response(),
        "/assets/ck1/moved.js" => {
            (StatusCode::FOUND, [("location", "https://evil.example/x.js")]).into_response()
        }
        "/assets/ck1/teapot.js" => StatusCode::IM_A_TEAPOT.into_response(),
        "/assets/ck1/broken.js" => (StatusCode::BAD_GATEWAY, "<h1>cloudflare</h1>").into_response(),
        "/assets/ck1/denied.js" => StatusCode::FORBIDDEN.into_response(),
        "/assets/ck1/hangs.js" => std::future::pending().await,
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn get(server: &TestServer, path: &str) -> reqwest::Response {
    server.get(&format!("{ASSETS}{path}")).send().await.expect("an answer")
}

async fn failed(server: &TestServer, path: &str) -> (u16, String) {
    let answer = get(server, path).await;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["error"]["code"].as_str().expect("a code").to_owned())
}

fn raw(server: &TestServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.addr()).expect("it accepts");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loader_and_its_page_lead_here_and_everything_else_comes_byte_for_byte() {
    let cdn = Cdn::start().await;
    let server = cdn.proxy(&[]);
    let home = server.url("/api/chatkit/assets");

    let loader = get(&server, "chatkit.js").await;
    assert_eq!(loader.headers()["content-type"], "text/javascript");
    assert_eq!(
        loader.text().await.expect("text"),
        format!(r#"const u="{home}/index-aB1.html",o="{home}",a="{home}/ck1/x.js";"#)
    );
    let page = get(&server, "index-aB1.html").await;
    assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(
        page.text().await.expect("text"),
        format!(
            r#"<script src="{home}/ck1/a.js"></script><link href='{home}/ck1/a.css'><p>/x/assets/ck1/</p>"#
        )
    );
    for path in ["ck1/font.woff2", "assets/ck1/font.woff2", "ck1/deep/er/font.woff2"] {
        assert_eq!(get(&server, path).await.bytes().await.expect("bytes"), FONT, "{path}");
    }
    let asked: Vec<_> = cdn.requests().into_iter().map(|(target, _)| target).collect();
    assert_eq!(
        asked,
        [
            "GET /deployments/chatkit/chatkit.js",
            "GET /deployments/chatkit/index-aB1.html",
            "GET /assets/ck1/font.woff2",
            "GET /assets/ck1/deep/er/font.woff2",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn caching_and_ranges_pass_and_nothing_else_does_in_either_direction() {
    let cdn = Cdn::start().await;
    let server = cdn.proxy(&[]);
    let font = || server.get("/api/chatkit/assets/ck1/font.woff2?token=secret");
    let browser = font()
        .header("cookie", "session=secret")
        .bearer_auth("secret")
        .header("referer", "https://shop.example/secret")
        .header("origin", "https://shop.example")
        .header("x-forwarded-for", "192.0.2.1")
        .header("user-agent", "a browser")
        .header("accept-language", "de");
    let answer = browser.send().await.expect("an answer");
    let names: Vec<_> = answer.headers().keys().map(|name| name.as_str().to_owned()).collect();
    for (name, value) in [
        ("cache-control", "public, max-age=31536000, immutable"),
        ("etag", "\"v1\""),
        ("last-modified", "Fri, 10 Oct 2025 00:00:00 GMT"),
        ("content-type", "font/woff2"),
        ("content-length", "62"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(answer.headers()[name], value, "{name}");
    }
    for name in [
        "set-cookie",
        "cf-ray",
        "server",
        "strict-transport-security",
        "access-control-allow-origin",
    ] {
        assert!(!names.iter().any(|known| known == name), "{name} is the CDN's own: {names:?}");
    }
    assert!(!names.iter().any(|known| known == "content-security-policy"), "{names:?}");
    assert_ne!(answer.headers()["x-request-id"], "of-the-cdn");
    let (target, sent) = cdn.requests().remove(0);
    assert_eq!(target, "GET /assets/ck1/font.woff2", "no query");
    let mut sent: Vec<_> = sent.keys().map(|name| name.as_str().to_owned()).collect();
    sent.sort_unstable();
    sent.retain(|name| name != "user-agent" && name != "accept");
    assert_eq!(sent, ["host"], "no header of the browser");

    let part = font().header("range", "bytes=2-5").send().await.expect("an answer");
    assert_eq!(part.status(), 206);
    assert_eq!(part.headers()["content-range"], "bytes 2-5/62");
    assert_eq!(part.bytes().await.expect("bytes"), &FONT[2..6]);
    let beyond = font().header("range", "bytes=99-").send().await.expect("an answer");
    assert_eq!(
        (beyond.status().as_u16(), &beyond.headers()["content-range"]),
        (416, &HeaderValue::from_static("bytes */62"))
    );
    let beyond: Value = beyond.json().await.expect("JSON");
    assert_eq!(beyond["error"]["code"], "range_not_satisfiable");
    for path in ["ck1/font.woff2", "chatkit.js"] {
        let known = server.get(&format!("{ASSETS}{path}")).header("if-none-match", "\"v1\"");
        let known = known.send().await.expect("an answer");
        assert_eq!(known.status(), 304, "{path}");
        assert_eq!(known.headers()["etag"], "\"v1\"");
    }
    for path in ["ck1/font.woff2", "chatkit.js"] {
        let host = server.addr();
        let head =
            format!("HEAD {ASSETS}{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let head = tokio::task::block_in_place(|| raw(&server, &head));
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
        assert!(head.contains("etag: \"v1\""), "{head}");
        let length = get(&server, path).await.content_length().expect("a length");
        assert!(head.contains(&format!("\r\ncontent-length: {length}\r\n")), "as GET says: {head}");
    }
    let ranged = server.get("/api/chatkit/assets/chatkit.js").header("range", "bytes=2-5");
    assert_eq!(
        ranged.send().await.expect("an answer").status(),
        200,
        "what is rewritten comes whole"
    );
    let posted = server.post("/api/chatkit/assets/chatkit.js").send().await.expect("an answer");
    assert_eq!(posted.status(), 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_flows_through_before_its_end_is_there() {
    let cdn = Cdn::start().await;
    let server = cdn.proxy(&[]);
    cdn.told.pieces.add_permits(1);
    let mut body = get(&server, "ck1/large.bin").await.bytes_stream();
    let mut seen = 0;
    while seen < 1024 * 1024 {
        let piece = body.next().await.expect("more").expect("bytes");
        assert!(piece.iter().all(|byte| *byte == 0), "the first piece");
        seen += piece.len();
    }
    cdn.told.pieces.add_permits(PIECES - 1);
    while let Some(piece) = body.next().await {
        for byte in piece.expect("bytes") {
            assert_eq!(usize::from(byte), seen / (1024 * 1024), "at {seen}");
            seen += 1;
        }
    }
    assert_eq!(seen, PIECES * 1024 * 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cdn_that_fails_is_named_in_our_own_words() {
    let cdn = Cdn::start().await;
    let server = cdn.proxy(&[]);
    let code = |status: u16, code: &str| (status, code.to_owned());
    for (path, expected) in [
        ("ck1/nope.js", code(404, "not_found")),
        ("ck1/denied.js", code(404, "not_found")),
        ("ck1/broken.js", code(503, "upstream_unavailable")),
        ("ck1/moved.js", code(502, "upstream_invalid_response")),
        ("ck1/teapot.js", code(502, "upstream_invalid_response")),
    ] {
        assert_eq!(failed(&server, path).await, expected, "{path}");
    }
    let began = std::time::Instant::now();
    assert_eq!(failed(&server, "ck1/hangs.js").await, code(504, "upstream_timeout"));
    assert!(began.elapsed().as_secs() < 15, "after ten seconds");
    let gone = [("CHATKIT_ASSETS", "proxy"), ("CHATKIT_CDN_BASE", NOWHERE)];
    let gone = TestServer::hosted(NOWHERE, &gone);
    assert_eq!(failed(&gone, "chatkit.js").await, code(503, "upstream_unavailable"));
    let off = TestServer::hosted(NOWHERE, &[]);
    assert_eq!(failed(&off, "chatkit.js").await, code(404, "not_found"), "`cdn` proxies nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_the_cdns_two_folders() {
    let cdn = Cdn::start().await;
    let server = cdn.proxy(&[]);
    for path in [
        "../../../v1/secret",
        "%2e%2e/%2e%2e/secret",
        "%2E%2E%2Fsecret",
        "ck1/../../secret",
        "ck1/%2e%2e/%2e%2e/secret",
        "ck1/..%2f..%2fsecret",
        "ck1/..%5c..%5csecret",
        "ck1/..\\..\\secret",
        "ck1//evil.example/x",
        "/evil.example/x",
        "//evil.example/x",
        "http://evil.example/x.js",
        "https:%2f%2fevil.example/x.js",
        "ck1/x.js%3fquery",
        "ck1/x.js%23fragment",
        "ck1/x.js%00",
        "ck1/x.js%0d%0ahost:%20evil",
        "ck1/%252e%252e/secret",
        "ck1/./x",
        "assets/%2e%2e/x.js",
        "assets/..%2fx.js",
        "deployments/../x.js",
        "@evil.example/x.js",
        "ck1/%a0",
        "ck1/%ff.js",
        "ck1/",
        "",
    ] {
        let request =
            format!("GET {ASSETS}{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        let answer = tokio::task::block_in_place(|| raw(&server, &request));
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        let body: Value =
            serde_json::from_str(body).unwrap_or_else(|_| panic!("{path}: JSON in {answer}"));
        assert_eq!(body["error"]["code"], "not_found", "{path}");
    }
    for (target, _) in cdn.requests() {
        let path = target.strip_prefix("GET ").expect("a GET");
        let inside = path.starts_with("/deployments/") || path.starts_with("/assets/");
        assert!(
            inside && !path.contains("..") && !path.contains('%') && !path.contains('?'),
            "{target}"
        );
    }
}
