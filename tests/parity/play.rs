//! Plays a fixture step by step, and compares what comes.

use std::collections::HashMap;
use std::time::Duration;

use data_encoding::BASE64;
use reqwest::Response;
use reqwest::multipart::{Form, Part};
use serde_json::Value;

use crate::compare::Names;
use crate::differences;
use crate::fixture::{File, Fixture, Step};
use crate::model::Model;
use crate::model_input;
use crate::target::{Target, other_server};

/// How long an answer may take to come to be what it should be.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between the frames of the model, for the official server: it drops events when a run fails at
/// once.
const PAUSE: Duration = Duration::from_millis(10);

/// How long the official server takes to notice that the client has left.
const NOTICE: Duration = Duration::from_millis(400);

/// What came back.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    stream: Option<Vec<Value>>,
    broken: bool,
    json: Option<Value>,
}

struct Player {
    api: String,
    model: Model,
    target: Target,
    names: Names,
    uploads: HashMap<String, String>,
}

/// Plays the fixture of this name; panics where the answers differ. The official server gets
/// further tries: when it is slow to read and a run fails, it drops events that it should have
/// sent.
pub(crate) async fn play(name: &str) {
    let fixture = Fixture::load(name);
    let tries = if other_server().is_some() { 5 } else { 1 };
    for left in (0..tries).rev() {
        match play_once(name, &fixture, left).await {
            Err(difference) if left == 0 => panic!("{difference}"),
            Err(_) => {}
            Ok(()) => break,
        }
    }
}

async fn play_once(name: &str, fixture: &Fixture, run: usize) -> Result<(), String> {
    let pause = if other_server().is_some() { PAUSE } else { Duration::ZERO };
    let model = Model::start(pause).await;
    let target = Target::start(&format!("{name}-{run}"), &fixture.api, &model);
    let names = Names::new(target.is_ours());
    let mut player =
        Player { api: fixture.api.clone(), model, target, names, uploads: HashMap::new() };
    for (number, step) in fixture.steps.iter().enumerate() {
        if let Err(difference) = player.step(step).await {
            let request = step.request.clone().unwrap_or_default();
            let logs = player.target.logs();
            return Err(format!(
                "step {number} ({}) {request}\n{difference}\nlog:\n{logs}",
                step.about
            ));
        }
    }
    Ok(())
}

impl Player {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        if let (Some(attachment), Some(file)) = (&step.upload, &step.file) {
            return self.upload(attachment, file).await;
        }
        self.model.play(&step.model);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(step).await?;
            let mut names = self.names.clone();
            match self.compare(step, &answer, &mut names) {
                Err(_) if step.eventually && tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(difference) => return Err(difference),
                Ok(()) => {
                    self.names = names;
                    self.remember_uploads(answer.json.as_ref());
                    break;
                }
            }
        }
        if step.leave_after.is_some() && !self.target.is_ours() {
            tokio::time::sleep(NOTICE).await;
        }
        self.compare_model_requests(step)
    }

    async fn ask(&self, step: &Step) -> Result<Answer, String> {
        let request = step.request.as_ref().ok_or("a step has a request or an upload")?;
        let body = match request {
            Value::String(raw) => raw.clone(),
            request => self.names.resolve(request).to_string(),
        };
        let response =
            self.target.post(body).send().await.map_err(|error| format!("no answer: {error}"))?;
        read(response, step.leave_after).await
    }

    fn compare(&self, step: &Step, answer: &Answer, names: &mut Names) -> Result<(), String> {
        if let Some(ours) = step.ours.as_ref().filter(|_| self.target.is_ours()) {
            match ours.difference.as_str() {
                "refused-before-the-stream" if ours.json.is_none() => {
                    return refused(ours.status, answer);
                }
                "actions-without-a-handler" => return says_no(answer),
                _ => {}
            }
        }
        if answer.status != step.status {
            return Err(format!("expected status {}, got {answer:?}", step.status));
        }
        let ours = step
            .ours
            .as_ref()
            .filter(|_| self.target.is_ours())
            .and_then(|ours| ours.json.as_ref());
        if let Some(expected) = ours.or(step.json.as_ref()) {
            let got =
                answer.json.as_ref().ok_or_else(|| format!("expected JSON, got {answer:?}"))?;
            let (expected, got) = self.ready_json(step, expected, got);
            return names
                .same(&expected, &got)
                .map_err(|at| format!("{at}\nexpected: {expected}\ngot:      {got}"));
        }
        let Some(expected) = &step.stream else { return Ok(()) };
        let got =
            answer.stream.as_ref().ok_or_else(|| format!("expected a stream, got {answer:?}"))?;
        self.compare_events(step, expected, got, names)?;
        if answer.broken == step.broken {
            Ok(())
        } else {
            Err(format!("broken off: {}", answer.broken))
        }
    }

    fn compare_events(
        &self,
        step: &Step,
        expected: &[Value],
        got: &[Value],
        names: &mut Names,
    ) -> Result<(), String> {
        let (expected, got) = if self.target.is_ours() {
            let ready = differences::events(step, &self.api, expected, got);
            (ready.expected, ready.got)
        } else {
            (expected.to_vec(), got.to_vec())
        };
        let nothing = Value::from("nothing");
        for number in 0..expected.len().max(got.len()) {
            let (wanted, came) =
                (expected.get(number).unwrap_or(&nothing), got.get(number).unwrap_or(&nothing));
            names.same(wanted, came).map_err(|at| {
                let all: Vec<String> = got.iter().map(|event| format!("  {event}")).collect();
                format!(
                    "event {number} {at}\nexpected: {wanted}\ngot:      {came}\nall that came:\n{}",
                    all.join("\n")
                )
            })?;
        }
        Ok(())
    }

    fn compare_model_requests(&mut self, step: &Step) -> Result<(), String> {
        let (asked, left) = self.model.asked();
        let is_refused =
            step.ours.as_ref().is_some_and(|ours| ours.difference == "refused-before-the-stream");
        let expected: &[Value] =
            if is_refused && self.target.is_ours() { &[] } else { &step.model_requests };
        if asked.len() != expected.len() || left > 0 {
            return Err(format!(
                "the model was asked {} times, expected {} ({left} replies left): {asked:?}",
                asked.len(),
                expected.len()
            ));
        }
        for (expected, got) in expected.iter().zip(&asked) {
            let (expected, mut got) =
                (model_input::comparable(expected), model_input::comparable(got));
            if self.target.is_ours() {
                differences::model_input(&expected["input"], &mut got["input"]);
            }
            self.names.same(&expected, &got).map_err(|at| {
                format!("the model's input {at}\nexpected: {expected}\ngot:      {got}")
            })?;
        }
        Ok(())
    }

    fn ready_json(&self, step: &Step, expected: &Value, got: &Value) -> (Value, Value) {
        if self.target.is_ours() {
            differences::json(step, &self.api, expected, got)
        } else {
            (expected.clone(), got.clone())
        }
    }

    fn remember_uploads(&mut self, answer: Option<&Value>) {
        let Some(attachment) = answer else { return };
        if let (Some(id), Some(url)) =
            (attachment["id"].as_str(), attachment["upload_descriptor"]["url"].as_str())
        {
            self.uploads.insert(id.to_owned(), url.to_owned());
        }
    }

    async fn upload(&self, attachment: &str, file: &File) -> Result<(), String> {
        let id = self.names.resolve(&attachment.into());
        let url =
            id.as_str().and_then(|id| self.uploads.get(id)).ok_or("no address to upload to")?;
        let bytes = BASE64.decode(file.base64.as_bytes()).map_err(|error| error.to_string())?;
        let part = Part::bytes(bytes).file_name(file.name.clone()).mime_str(&file.mime_type);
        let form = Form::new().part("file", part.map_err(|error| error.to_string())?);
        let response = self.target.post_to(url).multipart(form).send().await;
        let response = response.map_err(|error| format!("no answer: {error}"))?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(format!("the upload was refused: {} {:?}", response.status(), response.text().await))
    }
}

/// Reads an answer to its end, or so many events of it.
async fn read(mut response: Response, leave_after: Option<usize>) -> Result<Answer, String> {
    let mut answer = Answer { status: response.status().as_u16(), ..Answer::default() };
    let r#type =
        response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or("");
    if !r#type.starts_with("text/event-stream") {
        let is_json = r#type.starts_with("application/json");
        let text = response.text().await.map_err(|error| format!("no body: {error}"))?;
        answer.json = if is_json { serde_json::from_str(&text).ok() } else { None };
        return Ok(answer);
    }
    let events = answer.stream.insert(Vec::new());
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(piece)) => buffer.extend_from_slice(&piece),
            Ok(None) => break,
            Err(_) => {
                answer.broken = true;
                break;
            }
        }
        while let Some(end) = buffer.windows(2).position(|window| window == b"\n\n") {
            let frame: Vec<u8> = buffer.drain(..end + 2).collect();
            events.extend(event(&frame)?);
            if leave_after == Some(events.len()) {
                return Ok(answer);
            }
        }
    }
    if buffer.is_empty() { Ok(answer) } else { Err(format!("half a frame at the end: {buffer:?}")) }
}

/// The event in a frame, which is one `data:` line; a comment is none.
fn event(frame: &[u8]) -> Result<Option<Value>, String> {
    let text =
        std::str::from_utf8(frame).map_err(|error| error.to_string())?.trim_end_matches('\n');
    if text.starts_with(':') {
        return Ok(None);
    }
    let data = text.strip_prefix("data: ").filter(|data| !data.contains(['\n', '\r']));
    let data = data.ok_or_else(|| format!("not a line of data: {text:?}"))?;
    serde_json::from_str(data).map(Some).map_err(|error| format!("{error}: {data}"))
}

fn refused(status: Option<u16>, answer: &Answer) -> Result<(), String> {
    let body = answer.json.clone().unwrap_or_default();
    let is_it = differences::is_refusal(answer.status, &body)
        && status.is_none_or(|status| status == answer.status);
    if is_it { Ok(()) } else { Err(format!("expected a refusal ({status:?}), got {answer:?}")) }
}

/// Refused, or a stream that says no with an error at its end.
fn says_no(answer: &Answer) -> Result<(), String> {
    let Some(events) = &answer.stream else { return refused(None, answer) };
    let types: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
    match types.as_slice() {
        ["error"] | ["stream_options", "error"] if !answer.broken => Ok(()),
        _ => Err(format!("expected an error event, got {answer:?}")),
    }
}
