//! What is scraped, as it is written.

use prometheus_client::registry::Unit;

use super::*;

#[test]
fn every_sample_has_help_and_a_type_under_its_own_name() {
    let (metrics, mut registry) = Metrics::new(true);
    metrics.request("/healthz", "GET", 200, Duration::from_millis(3));
    metrics.upstream_call("create_session", "ok", Duration::from_millis(3));
    metrics.mint("say \"hi\"\nthere # TYPE x counter", "ok");
    metrics.set_jwks_age("id.example", Duration::from_secs(9));
    registry.register_with_unit("waited", "A unit", Unit::Seconds, Counter::<u64>::default());
    let text = render(&registry);
    assert!(
        text.contains(
            "# HELP chatkit_http_requests_total Requests answered.\n# TYPE \
                           chatkit_http_requests_total counter\nchatkit_http_requests_total{"
        ),
        "{text}"
    );
    assert!(
        text.contains(
            "# TYPE chatkit_waited_seconds_total counter\nchatkit_waited_seconds_total 0\n"
        ),
        "{text}"
    );
    assert!(text.ends_with('\n') && !text.contains("# EOF") && !text.contains("# UNIT"), "{text}");

    let about = |start: &str| -> HashSet<&str> {
        text.lines().filter_map(|line| line.strip_prefix(start)?.split(' ').next()).collect()
    };
    let (helped, typed) = (about("# HELP "), about("# TYPE "));
    assert_eq!(helped, typed);
    let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(samples.len() > 40, "{text}");
    for sample in samples {
        let name = sample.split(['{', ' ']).next().unwrap();
        let of_histogram =
            ["_bucket", "_sum", "_count"].into_iter().find_map(|end| name.strip_suffix(end));
        assert!(typed.contains(of_histogram.unwrap_or(name)), "{sample} has no type in:\n{text}");
    }
}
