//! In which order does a response stream? The events of the Responses API, each with its name and
//! its number.

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::super::cues::Break;
use super::super::live::{Grain, Wire, event, padding};
use super::super::script::{Part, picture};
use super::super::wording::Citation;
use super::object::{Generation, annotation};

/// One event, or the deltas of one text.
#[derive(Debug, Clone, Copy)]
pub(super) enum Beat {
    /// About the response as a whole.
    Response(Stage),
    /// About the item of this part.
    Item(usize, Moment),
    /// What the item of this part says.
    Deltas(usize, Text),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    Created,
    InProgress,
    Ended,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Text {
    /// Its words, or the arguments of its call.
    Said,
    /// One of the summaries of a thought.
    Summary(usize),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Moment {
    Added,
    SummaryPartAdded(usize),
    SummaryTextDone(usize),
    SummaryPartDone(usize),
    /// A step of a search or of a picture, by its name.
    Step(&'static str),
    PartialImage(usize),
    ArgumentsDone,
    ContentPartAdded,
    Annotation(usize),
    TextDone,
    ContentPartDone,
    Done,
}

impl Wire for Generation {
    type Beat = Beat;

    fn plan(&self) -> Vec<Beat> {
        let mut plan = vec![Beat::Response(Stage::Created), Beat::Response(Stage::InProgress)];
        let parts = &self.answer.parts;
        let breaks_off = matches!(self.answer.end, Some(Break::Failed | Break::Cut));
        for (at, part) in parts.iter().enumerate() {
            plan.push(Beat::Item(at, Moment::Added));
            self.plan_saying(at, part, &mut plan);
            if !breaks_off || at + 1 < parts.len() {
                plan_end(at, part, &mut plan);
            }
        }
        if self.answer.end != Some(Break::Cut) {
            plan.push(Beat::Response(Stage::Ended));
        }
        plan
    }

    fn text(&self, beat: Beat) -> Option<(&str, Grain)> {
        let Beat::Deltas(at, text) = beat else { return None };
        Some(match text {
            Text::Summary(summary) => (self.summary(at, summary), Grain::Words),
            Text::Said if matches!(self.answer.parts[at], Part::Call { .. }) => {
                (self.said(at), Grain::Fragments)
            }
            Text::Said => (self.said(at), Grain::Words),
        })
    }

    fn write(&self, beat: Beat, piece: &str, number: u64) -> Bytes {
        match beat {
            Beat::Deltas(at, text) => self.write_delta(at, text, piece, number),
            Beat::Item(at, moment) => self.write_moment(at, moment, number),
            Beat::Response(Stage::Created) => response("response.created", number, &self.begun()),
            Beat::Response(Stage::InProgress) => {
                response("response.in_progress", number, &self.begun())
            }
            Beat::Response(Stage::Ended) => {
                let kind = match self.answer.end {
                    Some(Break::Failed) => "response.failed",
                    Some(Break::Incomplete) => "response.incomplete",
                    None | Some(Break::Cut) => "response.completed",
                };
                response(kind, number, &self.ended())
            }
        }
    }
}

impl Generation {
    fn plan_saying(&self, at: usize, part: &Part, plan: &mut Vec<Beat>) {
        let moment = |moment| Beat::Item(at, moment);
        match part {
            Part::Thought(texts) if self.shown.summaries => {
                for summary in 0..texts.len() {
                    plan.extend([
                        moment(Moment::SummaryPartAdded(summary)),
                        Beat::Deltas(at, Text::Summary(summary)),
                        moment(Moment::SummaryTextDone(summary)),
                        moment(Moment::SummaryPartDone(summary)),
                    ]);
                }
            }
            Part::Thought(_) => {}
            Part::Search { .. } => {
                let steps =
                    ["response.web_search_call.in_progress", "response.web_search_call.searching"];
                plan.extend(steps.map(Moment::Step).map(moment));
            }
            Part::Picture => {
                let steps = [
                    "response.image_generation_call.in_progress",
                    "response.image_generation_call.generating",
                ];
                plan.extend(steps.map(Moment::Step).map(moment));
                plan.extend((0..self.shown.partial_images).map(Moment::PartialImage).map(moment));
            }
            Part::Call { .. } => plan.push(Beat::Deltas(at, Text::Said)),
            Part::Message { citations, .. } => {
                plan.extend([moment(Moment::ContentPartAdded), Beat::Deltas(at, Text::Said)]);
                plan.extend((0..citations.len()).map(Moment::Annotation).map(moment));
            }
            Part::Refusal(_) => {
                plan.extend([moment(Moment::ContentPartAdded), Beat::Deltas(at, Text::Said)])
            }
        }
    }

    fn write_delta(&self, at: usize, text: Text, piece: &str, number: u64) -> Bytes {
        let (kind, place) = match (text, &self.answer.parts[at]) {
            (Text::Summary(summary), _) => (
                "response.reasoning_summary_text.delta",
                Place { summary_index: Some(summary), ..Place::default() },
            ),
            (Text::Said, Part::Call { .. }) => {
                ("response.function_call_arguments.delta", Place::default())
            }
            (Text::Said, Part::Refusal(_)) => {
                ("response.refusal.delta", Place { content_index: Some(0), ..Place::default() })
            }
            (Text::Said, _) => (
                "response.output_text.delta",
                Place { content_index: Some(0), logprobs: Some([]), ..Place::default() },
            ),
        };
        let delta = Delta {
            kind,
            sequence_number: number,
            item_id: &self.ids[at],
            output_index: at,
            place,
            delta: piece,
            obfuscation: self.shown.obfuscation.then(|| padding(piece)),
        };
        event(Some(kind), &delta)
    }

    fn write_moment(&self, at: usize, moment: Moment, number: u64) -> Bytes {
        let part = &self.answer.parts[at];
        let (kind, more) = match moment {
            Moment::Added => ("response.output_item.added", json!({ "item": self.item_begun(at) })),
            Moment::Done => ("response.output_item.done", json!({ "item": self.item(at) })),
            Moment::SummaryPartAdded(summary) => {
                let part = json!({ "type": "summary_text", "text": "" });
                (
                    "response.reasoning_summary_part.added",
                    json!({ "summary_index": summary, "part": part }),
                )
            }
            Moment::SummaryTextDone(summary) => {
                let more = json!({ "summary_index": summary, "text": self.summary(at, summary) });
                ("response.reasoning_summary_text.done", more)
            }
            Moment::SummaryPartDone(summary) => {
                let part = json!({ "type": "summary_text", "text": self.summary(at, summary) });
                (
                    "response.reasoning_summary_part.done",
                    json!({ "summary_index": summary, "part": part }),
                )
            }
            Moment::PartialImage(image) => {
                let more = json!({
                    "partial_image_index": image, "partial_image_b64": picture(), "output_format": "png",
                });
                ("response.image_generation_call.partial_image", more)
            }
            Moment::ArgumentsDone => {
                let more = json!({ "name": self.called(at), "arguments": self.said(at) });
                ("response.function_call_arguments.done", more)
            }
            Moment::ContentPartAdded => {
                let part = match part {
                    Part::Refusal(_) => json!({ "type": "refusal", "refusal": "" }),
                    _ => {
                        json!({ "type": "output_text", "text": "", "annotations": [], "logprobs": [] })
                    }
                };
                ("response.content_part.added", json!({ "content_index": 0, "part": part }))
            }
            Moment::Annotation(index) => {
                let annotation = self.citations(at).get(index).map(annotation);
                let more = json!({ "content_index": 0, "annotation_index": index, "annotation": annotation });
                ("response.output_text.annotation.added", more)
            }
            Moment::TextDone if matches!(part, Part::Refusal(_)) => {
                ("response.refusal.done", json!({ "content_index": 0, "refusal": self.said(at) }))
            }
            Moment::TextDone => {
                let more = json!({ "content_index": 0, "text": self.said(at), "logprobs": [] });
                ("response.output_text.done", more)
            }
            Moment::ContentPartDone => (
                "response.content_part.done",
                json!({ "content_index": 0, "part": self.content(at) }),
            ),
            Moment::Step(step) => (step, json!({})),
        };
        // An item brings its own id.
        let item_id = more.get("item").is_none().then_some(&*self.ids[at]);
        event(Some(kind), &Rare { kind, sequence_number: number, output_index: at, item_id, more })
    }

    fn citations(&self, at: usize) -> &[Citation] {
        match &self.answer.parts[at] {
            Part::Message { citations, .. } => citations,
            _ => &[],
        }
    }

    fn called(&self, at: usize) -> &str {
        match &self.answer.parts[at] {
            Part::Call { name, .. } => name,
            _ => "",
        }
    }

    fn said(&self, at: usize) -> &str {
        match &self.answer.parts[at] {
            Part::Call { arguments: text, .. }
            | Part::Message { text, .. }
            | Part::Refusal(text) => text,
            Part::Thought(_) | Part::Search { .. } | Part::Picture => "",
        }
    }

    fn summary(&self, at: usize, summary: usize) -> &str {
        match &self.answer.parts[at] {
            Part::Thought(texts) => &texts[summary],
            _ => "",
        }
    }
}

fn plan_end(at: usize, part: &Part, plan: &mut Vec<Beat>) {
    let moment = |moment| Beat::Item(at, moment);
    match part {
        Part::Thought(_) => {}
        Part::Search { .. } => {
            plan.push(moment(Moment::Step("response.web_search_call.completed")))
        }
        Part::Picture => {
            plan.push(moment(Moment::Step("response.image_generation_call.completed")))
        }
        Part::Call { .. } => plan.push(moment(Moment::ArgumentsDone)),
        Part::Message { .. } | Part::Refusal(_) => {
            plan.extend([Moment::TextDone, Moment::ContentPartDone].map(moment));
        }
    }
    plan.push(moment(Moment::Done));
}

/// An event about the whole response.
fn response(kind: &'static str, sequence_number: u64, response: &impl Serialize) -> Bytes {
    #[derive(Serialize)]
    struct Whole<'a, R> {
        #[serde(rename = "type")]
        kind: &'static str,
        sequence_number: u64,
        response: &'a R,
    }
    event(Some(kind), &Whole { kind, sequence_number, response })
}

/// A piece of a text. There are thousands of them a second, so that they are written without a
/// detour.
#[derive(Serialize)]
struct Delta<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    item_id: &'a str,
    output_index: usize,
    #[serde(flatten)]
    place: Place,
    delta: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    obfuscation: Option<&'static str>,
}

/// Where in its item a piece belongs, as far as its kind has a place.
#[derive(Default, Serialize)]
struct Place {
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[u8; 0]>,
}

#[derive(Serialize)]
struct Rare<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    output_index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(flatten)]
    more: Value,
}
