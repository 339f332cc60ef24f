//! Which settings are sound? Every problem is named with its variable, and never shows a secret.

use chatkit_server::config::auth::SameSite;
use jsonwebtoken::Algorithm;

use crate::support::{COOKIE_KEY, SECRET, configure, pem};

/// The variables that have a problem.
fn problems(vars: &[(&str, &str)]) -> Vec<String> {
    let (_, problems) = configure(vars);
    problems.into_iter().map(|problem| problem.variable).collect()
}

#[test]
fn each_source_of_credentials_is_enough_by_itself() {
    let hex = "ab".repeat(32);
    for vars in [
        vec![("JWT_SECRET", SECRET)],
        vec![("JWT_PUBLIC_KEY", pem!("ed25519.spki"))],
        vec![("JWKS_URL", "https://a.example/keys?tenant=1")],
        vec![("JWKS_URL", "http://localhost:9/keys")],
        vec![("JWT_ISSUER", "https://a.example/,http://127.0.0.1:9/realm")],
        vec![("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", COOKIE_KEY)],
        vec![("SERVICE_TOKENS", &format!("shop:{hex}"))],
    ] {
        assert_eq!(problems(&vars), [""; 0], "{:?}", vars[0].0);
    }
}

#[test]
fn a_setup_in_which_nobody_could_authenticate_is_a_problem() {
    let (_, found) = configure(&[]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].to_string().starts_with("JWT_SECRET: nobody could authenticate"),
        "{}",
        found[0]
    );
    assert_eq!(
        problems(&[("AUTH_ANONYMOUS", "off"), ("CHATKIT_COOKIE_KEY", COOKIE_KEY)]),
        ["JWT_SECRET"]
    );
    assert_eq!(
        problems(&[("JWT_AUDIENCE", "chat"), ("JWT_SECRET", "")]),
        ["JWT_SECRET"],
        "an empty value is unset"
    );
}

#[test]
fn an_empty_secret_file_lets_nobody_in_and_is_no_source_of_keys() {
    let folder = std::env::temp_dir().join(format!("chatkit-test-empty-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    let (short, away) = (file("short", "short"), "/nowhere/secret");
    for empty in [file("empty", ""), file("newline", "\n")] {
        for name in ["JWT_SECRET_FILE", "JWT_PUBLIC_KEY_FILE", "SERVICE_TOKENS_FILE"] {
            assert_eq!(problems(&[(name, &empty)]), ["JWT_SECRET"], "{name}");
        }
        let key = ("CHATKIT_COOKIE_KEY_FILE", empty.as_str());
        assert_eq!(problems(&[("AUTH_ANONYMOUS", "on"), key]), ["CHATKIT_COOKIE_KEY"]);
        let secret = ("JWT_SECRET_FILE", empty.as_str());
        assert_eq!(problems(&[secret, ("JWT_ISSUER", "my-site")]), ["JWT_ISSUER"]);
        assert!(configure(&[secret, ("JWT_ISSUER", "https://a.example")]).0.discovers_keys());
    }
    assert_eq!(
        problems(&[("JWT_SECRET_FILE", &short)]),
        ["JWT_SECRET"],
        "bad, and not missing as well"
    );
    assert_eq!(problems(&[("JWT_SECRET_FILE", away)]), ["JWT_SECRET_FILE"], "the same");
    assert_eq!(problems(&[("SERVICE_TOKENS_FILE", away)]), ["SERVICE_TOKENS_FILE"], "the same");
    let unreadable = [("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY_FILE", away)];
    assert_eq!(problems(&unreadable), ["CHATKIT_COOKIE_KEY_FILE"], "the same");
    std::fs::remove_dir_all(folder).expect("the folder goes");
}

#[test]
fn defaults_are_those_that_are_documented() {
    let (config, _) = configure(&[("JWT_SECRET", SECRET)]);
    assert_eq!(config.user_claim, "sub");
    assert_eq!(config.leeway.as_secs(), 30);
    assert_eq!(
        config.hmac_algorithms().collect::<Vec<_>>(),
        [Algorithm::HS256],
        "32 bytes are enough for HS256 alone"
    );
    assert!(!config.cookies_authenticate());
    let proxy = |value| {
        configure(&[("JWT_SECRET", SECRET), ("HTTPS_PROXY", value)]).0.https_proxy.map(String::from)
    };
    assert_eq!(
        proxy("proxy.example:3128"),
        Some("http://proxy.example:3128/".into()),
        "without a scheme"
    );
    let cookie = [("JWT_SECRET", SECRET), ("JWT_COOKIE", "session")];
    assert!(configure(&cookie).0.cookies_authenticate());
    let visitors = [("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", COOKIE_KEY)];
    let (config, _) = configure(&visitors);
    assert!(config.cookies_authenticate());
    assert_eq!(config.visitors.map(|visitors| visitors.same_site), Some(SameSite::Lax));
}

#[test]
fn keys_come_from_the_issuer_only_when_there_is_no_other_source() {
    let issuer = ("JWT_ISSUER", "https://a.example");
    assert!(configure(&[issuer]).0.discovers_keys());
    for source in [
        ("JWT_SECRET", SECRET),
        ("JWT_PUBLIC_KEY", pem!("p256.spki")),
        ("JWKS_URL", "https://b.example"),
    ] {
        let (config, found) = configure(&[issuer, source]);
        assert!(!config.discovers_keys() && found.is_empty(), "{}", source.0);
    }
    assert_eq!(
        problems(&[("JWT_ISSUER", "my-site"), ("JWT_SECRET", SECRET)]),
        [""; 0],
        "a name will do with a key"
    );
    assert_eq!(
        problems(&[("JWT_ISSUER", "my-site")]),
        ["JWT_ISSUER"],
        "but nothing can be fetched from it"
    );
}

#[test]
fn a_short_secret_is_refused_and_how_long_it_must_be_is_said() {
    let says = |secret: &str, algorithms: &str| {
        let (_, found) = configure(&[("JWT_SECRET", secret), ("JWT_ALGORITHMS", algorithms)]);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let long = "x".repeat(64);
    assert_eq!(
        says(&long[..31], ""),
        ["JWT_SECRET: must have 32 bytes or more (HS384 needs 48, HS512 needs 64)"]
    );
    assert_eq!(says(&long[..32], "HS256"), [""; 0]);
    assert_eq!(says(&long[..47], "HS384"), ["JWT_SECRET: must have 48 bytes or more for HS384"]);
    assert_eq!(says(&long[..48], "HS384,RS256"), [""; 0]);
    assert_eq!(
        says(&long[..63], "HS256,HS512"),
        ["JWT_SECRET: must have 64 bytes or more for HS512"]
    );
    assert_eq!(says(&long, "HS512"), [""; 0]);
    assert_eq!(
        problems(&[("JWT_SECRET", pem!("p256.spki"))]),
        ["JWT_SECRET"],
        "a public key is no secret"
    );
}

#[test]
fn bad_values_are_problems_of_their_variable() {
    let key = ("JWT_SECRET", SECRET);
    for (name, value) in [
        ("JWT_PUBLIC_KEY", pem!("p256.private")),
        ("JWT_PUBLIC_KEY", pem!("rsa1024.spki")),
        ("JWT_PUBLIC_KEY", "no pem"),
        ("JWKS_URL", "http://a.example/keys"),
        ("JWKS_URL", "https://user:pass@a.example/keys"),
        ("JWKS_URL", "a.example/keys"),
        ("JWKS_URL", "file:///keys"),
        ("JWT_ALGORITHMS", "none"),
        ("JWT_ALGORITHMS", "HS256,None"),
        ("JWT_ALGORITHMS", "hs256"),
        ("JWT_ALGORITHMS", "RS256"),
        ("JWT_LEEWAY_SECONDS", "-1"),
        ("JWT_LEEWAY_SECONDS", "a"),
        ("JWT_COOKIE", "a b"),
        ("JWT_COOKIE", "chatkit_visitor"),
        ("AUTH_ANONYMOUS", "yes"),
        ("CHATKIT_COOKIE_KEY", "short"),
        ("CHATKIT_COOKIE_SAMESITE", "strict"),
        ("HTTPS_PROXY", "socks5://proxy:1080"),
    ] {
        let (_, found) = configure(&[key, (name, value)]);
        assert!(
            found.iter().any(|problem| problem.variable == name),
            "{name} {value:?}: {found:?}"
        );
        for problem in &found {
            assert!(!problem.to_string().contains(SECRET), "{problem}");
            assert!(value.len() < 20 || !problem.to_string().contains(value), "{problem}");
        }
    }
}

#[test]
fn contradictions_are_problems() {
    assert_eq!(problems(&[("AUTH_ANONYMOUS", "on")]), ["CHATKIT_COOKIE_KEY"]);
    assert_eq!(
        problems(&[("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", "short")]),
        ["CHATKIT_COOKIE_KEY"]
    );
    assert_eq!(
        problems(&[("JWKS_URL", "https://a.example"), ("JWT_ALGORITHMS", "HS256")]),
        ["JWT_ALGORITHMS"]
    );
    let p256 = ("JWT_PUBLIC_KEY", pem!("p256.spki"));
    assert_eq!(problems(&[p256, ("JWT_ALGORITHMS", "ES384,RS256")]), ["JWT_ALGORITHMS"]);
    assert_eq!(problems(&[p256, ("JWT_SECRET", SECRET), ("JWT_ALGORITHMS", "ES256")]), [""; 0]);
    let visitors =
        [("AUTH_ANONYMOUS", "on"), ("CHATKIT_COOKIE_KEY", COOKIE_KEY), ("JWT_COOKIE", "session")];
    assert_eq!(problems(&visitors), ["JWT_COOKIE"], "no key could check its token");
}

#[test]
fn service_tokens_are_names_with_digests_and_no_digest_twice() {
    let (one, two) = ("ab".repeat(32), "CD".repeat(32));
    let (config, found) =
        configure(&[("SERVICE_TOKENS", &format!("shop:{one}, blog.v2:{two},\n"))]);
    assert_eq!(found, []);
    let names: Vec<_> = config.service_tokens.iter().map(|token| &*token.name).collect();
    assert_eq!(names, ["shop", "blog.v2"]);
    let (config, found) = configure(&[("SERVICE_TOKENS", &format!("shop:{one},shop:{two}"))]);
    assert_eq!(
        (found.len(), config.service_tokens.len()),
        (0, 2),
        "a new token beside the old: {found:?}"
    );
    let token = format!("cks_{one}");
    for bad in [
        format!("shop:{one},shop:{one}"),
        format!("shop:{one},blog:{one}"),
        format!("shop:{}", &one[..62]),
        format!("shop:{}zz", &one[..62]),
        format!("shop:{one}ab"),
        format!("shop {one}"),
        format!(":{one}"),
        format!("sh op:{one}"),
        one.clone(),
        ",".to_owned(),
        format!("shop:{token}"),
    ] {
        let (_, found) = configure(&[("SERVICE_TOKENS", &bad)]);
        assert!(found.iter().any(|problem| problem.variable == "SERVICE_TOKENS"), "{bad:?}");
        assert!(!found.iter().any(|problem| problem.to_string().contains(&one)), "{found:?}");
    }
}
