//! What is measured? One function for each part of the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::asked::{Asked, Heard};
use crate::{Servers, milliseconds, quantile, row};

/// So many streams are asked for and not begun yet, at most.
const OPENING: usize = 32;

/// When does the first event come? The model is asked in turn with the server, so that a noisy
/// moment hits both.
pub(crate) async fn first(servers: &Servers, rounds: usize) -> anyhow::Result<()> {
    let (chat, model) = (servers.chat()?, servers.model()?);
    let (mut ours, mut its) = (Vec::new(), Vec::new());
    for round in 0..rounds + rounds / 10 {
        let own = model.say("deltas 5", None, || ()).await?;
        let heard = chat.say("deltas 5", None, || ()).await?;
        ensure!(heard.is_whole && own.is_whole, "an answer did not come to its end");
        // The first of them are for warming up.
        if round >= rounds / 10 {
            ours.push(heard);
            its.push(own);
        }
    }
    let times =
        |heard: &[Heard], of: fn(&Heard) -> Duration| heard.iter().map(of).collect::<Vec<_>>();
    let (begun, answer) = (times(&ours, |heard| heard.first), times(&ours, |heard| heard.answer));
    let own = times(&its, |heard| heard.first);
    let beyond: Vec<_> =
        answer.iter().zip(&own).map(|(ours, own)| ours.saturating_sub(*own)).collect();
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let at = |sample: &[Duration]| milliseconds(quantile(sample, share));
        row(&format!("the model's own first event, {name}"), at(&own), "ms")?;
        row(&format!("thread.created, {name}"), at(&begun), "ms")?;
        row(&format!("first event of the answer, {name}"), at(&answer), "ms")?;
        row(
            &format!("  beyond the model's own, {name} (aim at p50: at most 2)"),
            at(&beyond),
            "ms",
        )?;
    }
    Ok(())
}

/// What does the server hold while many streams are open?
pub(crate) async fn streams(
    servers: &Servers,
    count: usize,
    deltas: usize,
    delay_ms: u64,
    over: Duration,
) -> anyhow::Result<()> {
    let process = servers.process();
    let fresh = process.mebibytes("VmRSS")?;
    let (began, cpu) = (Instant::now(), process.seconds()?);
    let words = format!("delay {delay_ms} deltas {deltas}");
    let open = Arc::new(AtomicUsize::new(0));
    let mut streams = begin(&servers.chat()?, count, &words, over, &open);
    let (mut heard, mut most_open, mut most_held) = (Vec::new(), 0, 0.0_f64);
    let mut look = tokio::time::interval(Duration::from_millis(250));
    loop {
        tokio::select! {
            ended = streams.join_next() => match ended {
                Some(ended) => heard.push(ended?),
                None => break,
            },
            _ = look.tick() => {
                most_open = most_open.max(open.load(Ordering::Relaxed));
                most_held = most_held.max(process.mebibytes("VmRSS")?);
            }
        }
    }
    let took = began.elapsed().as_secs_f64();
    let share = (process.seconds()? - cpu) / took;
    let failed = heard.iter().find_map(|heard| heard.as_ref().err());
    let is_good = |heard: &&Heard| heard.is_whole && heard.deltas == deltas;
    let good: Vec<_> = heard.iter().flatten().filter(is_good).collect();
    let said: usize = heard.iter().flatten().map(|heard| heard.deltas).sum();
    row(
        &format!("streams asked for, each of {deltas} deltas, one every {delay_ms} ms"),
        count,
        "",
    )?;
    row("  open at once, at the most", most_open, "")?;
    row("  dropped, cut, or short of a delta (aim: 0)", count - good.len(), "")?;
    if let Some(error) = failed {
        row("  the first that failed", format!("{error:#}"), "")?;
    }
    row("  deltas a second, in all", rate(said, took), "/s")?;
    row("  of the server's core", format!("{:.0}", share * 100.0), "%")?;
    row("  resident memory before", format!("{fresh:.0}"), "MiB")?;
    row("  resident memory, the most (aim: under 300)", format!("{most_held:.0}"), "MiB")?;
    row(
        "  resident memory, as Linux saw its peak",
        format!("{:.0}", process.mebibytes("VmHWM")?),
        "MiB",
    )
}

/// How many deltas a second go through, next to what the same client gets from the model itself?
pub(crate) async fn relay(servers: &Servers, count: usize, deltas: usize) -> anyhow::Result<()> {
    let words = format!("deltas {deltas}");
    let mut rates = Vec::new();
    let process = servers.process();
    let before = process.seconds()?;
    for asked in [servers.model()?, servers.chat()?] {
        let began = Instant::now();
        let mut streams = begin(&asked, count, &words, Duration::ZERO, &Arc::default());
        while let Some(ended) = streams.join_next().await {
            let heard = ended??;
            ensure!(
                heard.is_whole && heard.deltas == deltas,
                "an answer is short: {} deltas",
                heard.deltas
            );
        }
        rates.push(began.elapsed().as_secs_f64());
    }
    let all = count * deltas;
    let spent = process.seconds()? - before;
    row(&format!("{count} streams: from the model itself"), rate(all, rates[0]), "deltas/s")?;
    row("  through the server", rate(all, rates[1]), "deltas/s")?;
    #[expect(clippy::cast_precision_loss, reason = "it is shown with one digit")]
    let each = spent * 1e6 / all as f64;
    row("  the server's own time", format!("{each:.1}"), "µs/delta")?;
    row("  which is, of a core that it has for itself", rate(all, spent), "deltas/s")
}

/// Asks for that many streams, evenly over a time. `open` counts those that have begun and have not
/// ended.
fn begin(
    asked: &Asked,
    count: usize,
    words: &str,
    over: Duration,
    open: &Arc<AtomicUsize>,
) -> JoinSet<anyhow::Result<Heard>> {
    let gate = Arc::new(Semaphore::new(OPENING));
    let mut streams = JoinSet::new();
    let (began, step) =
        (tokio::time::Instant::now(), over / u32::try_from(count).unwrap_or(u32::MAX));
    for number in 0..count {
        let due = began + step * u32::try_from(number).unwrap_or(u32::MAX);
        let (asked, words, open, gate) =
            (asked.clone(), words.to_owned(), Arc::clone(open), Arc::clone(&gate));
        streams.spawn(async move {
            tokio::time::sleep_until(due).await;
            let place = gate.acquire_owned().await?;
            let mut is_open = false;
            let begun = || {
                is_open = true;
                open.fetch_add(1, Ordering::Relaxed);
                drop(place);
            };
            let heard = asked.say(&words, None, begun).await;
            open.fetch_sub(usize::from(is_open), Ordering::Relaxed);
            heard
        });
    }
    streams
}

fn rate(count: usize, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "it is shown as a whole number")]
    let rate = count as f64 / seconds;
    format!("{rate:.0}")
}

/// What does a message cost in a long thread, from asking to the end of the answer?
pub(crate) async fn messages(
    servers: &Servers,
    rounds: usize,
    short: &str,
    long: &[String],
) -> anyhow::Result<()> {
    let chat = servers.chat()?;
    let mut short_ones = Vec::new();
    let mut long_ones = vec![Vec::new(); long.len()];
    for round in 0..rounds {
        short_ones.push(message(&chat, &format!("{short}{round}")).await?);
        for (thread_id, times) in long.iter().zip(&mut long_ones) {
            times.push(message(&chat, thread_id).await?);
        }
    }
    let base = quantile(&short_ones, 0.5);
    row("a message in a thread of 10 items, p50", milliseconds(base), "ms")?;
    for (thread_id, times) in long.iter().zip(&long_ones) {
        let time = quantile(times, 0.5);
        row(&format!("  in {thread_id}"), milliseconds(time), "ms")?;
        row("    as many times as long", ratio(time, base), "times")?;
    }
    Ok(())
}

async fn message(chat: &Asked, thread_id: &str) -> anyhow::Result<Duration> {
    let heard = chat.say("deltas 5", Some(thread_id), || ()).await?;
    ensure!(heard.is_whole, "an answer did not come to its end");
    Ok(heard.end)
}

/// What does a page cost? Users and threads with few and with many entries are asked in turn.
pub(crate) async fn lists(
    servers: &Servers,
    rounds: usize,
    few: &str,
    short: &str,
    long: &str,
) -> anyhow::Result<()> {
    let (many, few) = (servers.chat()?, Asked::chat(&servers.server, few)?);
    let threads = json!({ "limit": 20, "order": "desc" });
    let items = |id: &str| json!({ "thread_id": id, "limit": 20, "order": "desc" });
    pages("threads.list", rounds, (&few, threads.clone()), (&many, threads)).await?;
    pages("items.list", rounds, (&few, items(short)), (&many, items(long))).await
}

/// The first page and the fifth, of the one and of the other.
async fn pages(
    kind: &str,
    rounds: usize,
    few: (&Asked, serde_json::Value),
    many: (&Asked, serde_json::Value),
) -> anyhow::Result<()> {
    for (which, skipped) in [("first", 0), ("fifth", 4)] {
        let mut medians = Vec::new();
        let (few, many) = (behind(kind, &few, skipped).await?, behind(kind, &many, skipped).await?);
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for ((asked, params), times) in [&few, &many].into_iter().zip(&mut times) {
                let (took, page) = asked.ask(kind, params).await?;
                ensure!(
                    page["data"].as_array().is_some_and(|data| data.len() == 20),
                    "not a full page: {page}"
                );
                times.push(took);
            }
        }
        for times in &times {
            medians.push(quantile(times, 0.5));
        }
        row(&format!("{kind}, the {which} page, of 100, p50"), milliseconds(medians[0]), "ms")?;
        row("  of the long list", milliseconds(medians[1]), "ms")?;
        row("    as many times as long", ratio(medians[1], medians[0]), "times")?;
    }
    Ok(())
}

/// The request for the page that comes after so many.
async fn behind<'a>(
    kind: &str,
    (asked, params): &(&'a Asked, serde_json::Value),
    pages: usize,
) -> anyhow::Result<(&'a Asked, serde_json::Value)> {
    let mut params = params.clone();
    for _ in 0..pages {
        let (_, page) = asked.ask(kind, &params).await?;
        ensure!(page["after"].is_string(), "the list is too short: {page}");
        params["after"] = page["after"].clone();
    }
    Ok((asked, params))
}

fn ratio(one: Duration, other: Duration) -> String {
    format!("{:.2}", one.as_secs_f64() / other.as_secs_f64())
}
