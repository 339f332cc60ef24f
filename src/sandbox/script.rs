//! What does the scripted model answer? Something about what it was asked, and always the same. The
//! words that make it do more are in the documentation of the module above.

use std::time::Duration;

use serde_json::{Value, json};

use super::conversation::{Choice, Conversation, Format, Tool};
use super::cues::{Break, Calls, Cues};
use super::error::ApiError;
use super::fitting::plausible;
use super::json::Json;
use super::wording::{Citation, Text, clipped, described};

/// What is said, in order, and how it ends.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) parts: Vec<Part>,
    /// What keeps the last part from its end; its text is as long as it got.
    pub(super) end: Option<Break>,
    /// The pause before each delta.
    pub(super) delay: Duration,
}

/// One thing that the model does.
#[derive(Debug, PartialEq)]
pub(super) enum Part {
    Thought([String; 2]),
    Search { query: String },
    Picture,
    Call { name: String, arguments: String },
    Message { text: String, citations: Vec<Citation> },
    Refusal(String),
}

/// What the request itself says about the answer.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Bounds {
    /// The most tokens.
    pub(super) tokens: Option<usize>,
    /// The number of deltas, instead of what comes naturally.
    pub(super) deltas: Option<usize>,
    /// The pause before each of them.
    pub(super) delay: Option<Duration>,
}

const LONG: usize = 300;
const LONG_DELAY: Duration = Duration::from_millis(20);
const NOTHING_TO_SAY: &str = "You sent no words.";

/// Answers a conversation, or fails as the user asked.
pub(super) fn answer(conversation: &Conversation<'_>, bounds: Bounds) -> Result<Answer, ApiError> {
    let cues = Cues::of(&conversation.said);
    if conversation.wants_title {
        if cues.untitled {
            return Err(ApiError::server_error());
        }
        let parts = vec![Part::Message { text: title(conversation), citations: Vec::new() }];
        return Ok(Answer { parts, end: None, delay: bounds.delay.unwrap_or_default() });
    }
    if let Some(status) = cues.error {
        return Err(ApiError::as_asked(status));
    }
    let mut parts = Vec::new();
    let said = clipped(&conversation.said.join(" "), 80);
    if cues.think {
        parts.push(Part::Thought([
            format!("**Reading the question** The user says \"{said}\"."),
            format!(
                "**Finding an answer** There are {} earlier messages to look at.",
                conversation.earlier
            ),
        ]));
    }
    if cues.search {
        parts.push(Part::Search { query: said });
    }
    if cues.image {
        parts.push(Part::Picture);
    }
    let calls = calls(conversation, &cues);
    if !calls.is_empty() {
        parts.extend(calls);
    } else if cues.refuse {
        parts.push(Part::Refusal("I'm sorry, but I can't help with that.".to_owned()));
    } else {
        parts.push(match conversation.format {
            Format::Text => message(conversation, &cues, bounds.deltas.or(cues.deltas)),
            Format::Json(schema) => object(conversation, schema),
        });
    }
    let cut_short =
        parts.last_mut().is_some_and(|part| shorten(part, cues.end.is_some(), bounds.tokens));
    let end = cues.end.or(cut_short.then_some(Break::Incomplete));
    let natural = if cues.long { LONG_DELAY } else { Duration::ZERO };
    Ok(Answer { parts, end, delay: bounds.delay.or(cues.delay).unwrap_or(natural) })
}

impl Answer {
    /// The words of all parts: what comes as a delta, and what costs a token.
    pub(super) fn words(&self) -> usize {
        self.parts.iter().map(Part::words).sum()
    }

    /// The words among them that only led to the answer.
    pub(super) fn words_thought(&self) -> usize {
        self.parts.iter().filter(|part| matches!(part, Part::Thought(_))).map(Part::words).sum()
    }
}

impl Part {
    fn words(&self) -> usize {
        let count = |text: &str| text.split_inclusive(' ').count();
        match self {
            Self::Thought(summaries) => summaries.iter().map(|text| count(text)).sum(),
            Self::Call { arguments: text, .. }
            | Self::Message { text, .. }
            | Self::Refusal(text) => count(text),
            Self::Search { .. } | Self::Picture => 0,
        }
    }
}

/// The functions that are to be called now. After their outputs it is time for an answer.
fn calls(conversation: &Conversation<'_>, cues: &Cues) -> Vec<Part> {
    let wanted = match (conversation.choice, cues.tool) {
        (Choice::Never, _) | (Choice::Auto, Calls::None) => return Vec::new(),
        (Choice::Named(_) | Choice::Required, Calls::None) => Calls::One,
        (_, wanted) => wanted,
    };
    if !conversation.outputs.is_empty() {
        return Vec::new();
    }
    let said = conversation.said.join(" ");
    let tools = &conversation.tools;
    let chosen = match conversation.choice {
        Choice::Named(name) => tools.iter().find(|tool| tool.name == name),
        _ => tools.iter().find(|tool| said.contains(tool.name)).or(tools.first()),
    };
    let tools: Vec<_> = match wanted {
        Calls::All => tools.iter().collect(),
        Calls::One | Calls::None => chosen.into_iter().collect(),
    };
    let words = clipped(&said, 80);
    let call = |tool: &Tool<'_>| Part::Call {
        name: tool.name.to_owned(),
        arguments: plausible(tool.parameters, &words).to_string(),
    };
    tools.into_iter().map(call).collect()
}

/// The answer itself.
fn message(conversation: &Conversation<'_>, cues: &Cues, deltas: Option<usize>) -> Part {
    let mut text = Text::default();
    for (tool, output) in &conversation.outputs {
        text.say(&format!("The tool {tool} answered: {}.", clipped(output, 400)));
    }
    let said = clipped(&conversation.said.join(" "), 400);
    text.say(&if said.is_empty() {
        NOTHING_TO_SAY.to_owned()
    } else {
        format!("You said: \"{said}\".")
    });
    text.say(&match conversation.earlier {
        0 => "This is the first message I see.".to_owned(),
        1 => "I see 1 earlier message.".to_owned(),
        more => format!("I see {more} earlier messages."),
    });
    if !conversation.attached.is_empty() {
        let attached: Vec<String> = conversation.attached.iter().map(described).collect();
        text.say(&format!("You attached {}.", attached.join(" and ")));
    }
    for quote in &conversation.quotes {
        text.say(&format!("You refer to: \"{}\".", clipped(quote, 200)));
    }
    for context in &conversation.context {
        text.say(&format!("I was given this context: \"{}\".", clipped(context, 200)));
    }
    if cues.image {
        text.say("Here is the picture you asked for.");
    }
    if cues.search {
        text.say("I searched the web and found this:");
        text.cite_url("About the sandbox");
    }
    if cues.cite {
        let attached = conversation.attached.iter().find(|attachment| !attachment.image);
        text.say("The file says so,");
        text.cite_file(attached.and_then(|attachment| attachment.name).unwrap_or("handbook.pdf"));
        text.say("and so does the web:");
        text.cite_url("The handbook of the sandbox");
    }
    match deltas {
        Some(count) => text.fit(count),
        None if cues.long => text.fit(LONG),
        None => {}
    }
    let (text, citations) = text.finish();
    Part::Message { text, citations }
}

/// The answer as JSON: what fits the schema, or else an object with one text.
fn object(conversation: &Conversation<'_>, schema: Option<&Json<'_>>) -> Part {
    let words = clipped(&conversation.said.join(" "), 200);
    let value = match schema {
        Some(schema) => plausible(Some(schema), &words),
        None => json!({ "you_said": words }),
    };
    Part::Message { text: value.to_string(), citations: Vec::new() }
}

/// Leaves half of the words, or as many as there are tokens. True when it is the tokens that were
/// too few.
fn shorten(part: &mut Part, halve: bool, tokens: Option<usize>) -> bool {
    let count = part.words();
    let (Part::Message { text, .. } | Part::Refusal(text)) = part else { return false };
    let too_few = tokens.is_some_and(|tokens| tokens < count);
    let kept = if halve { count.div_ceil(2) } else { count }.min(tokens.unwrap_or(count));
    if kept < count {
        *text = text.split_inclusive(' ').take(kept).collect();
        let length = text.chars().count();
        if let Part::Message { citations, .. } = part {
            citations.retain(|citation| citation.end() <= length);
        }
    }
    too_few
}

/// A title from the first thing that the user said.
fn title(conversation: &Conversation<'_>) -> String {
    let opening = conversation.opening.unwrap_or_default().trim_start();
    let opening = match opening.get(..5) {
        Some(speaker) if speaker.eq_ignore_ascii_case("user:") => &opening[5..],
        _ => opening,
    };
    let words = opening
        .split_whitespace()
        .map(|word| word.trim_matches(|letter: char| !letter.is_alphanumeric()));
    let title = words.filter(|word| !word.is_empty()).take(5).collect::<Vec<_>>().join(" ");
    let mut letters = title.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => "New conversation".to_owned(),
    }
}

/// The picture that `image` makes: 16 by 16 pixels, as base64.
pub(super) fn picture() -> Value {
    Value::String(data_encoding::BASE64.encode(include_bytes!("picture.png")))
}

#[cfg(test)]
mod tests {
    use super::super::conversation::{Part as Piece, Role};
    use super::*;

    fn asked(said: &str, bounds: Bounds) -> Answer {
        let mut conversation = Conversation::default();
        conversation.hear(Role::User, vec![Piece::Text(said)]);
        answer(&conversation, bounds).unwrap()
    }

    fn text(answer: &Answer) -> &str {
        match answer.parts.last() {
            Some(Part::Message { text, .. }) => text,
            other => panic!("a message comes last: {other:?}"),
        }
    }

    #[test]
    fn the_number_of_words_is_exactly_what_is_asked_for() {
        for count in [1, 7, 1000] {
            let bounds = Bounds { deltas: Some(count), ..Bounds::default() };
            assert_eq!(asked("cite hello there", bounds).words(), count);
        }
        assert_eq!(asked("long", Bounds::default()).words(), LONG);
    }

    #[test]
    fn an_answer_is_never_longer_than_its_tokens() {
        let few = Bounds { tokens: Some(4), ..Bounds::default() };
        let short = asked("hello", few);
        assert_eq!((short.words(), short.end), (4, Some(Break::Incomplete)));
        let enough = Bounds { tokens: Some(9), ..Bounds::default() };
        assert_eq!(asked("hi", enough).end, Some(Break::Incomplete), "{:?}", asked("hi", enough));
        assert_eq!(asked("hi", Bounds { tokens: Some(10), ..Bounds::default() }).end, None);
    }

    #[test]
    fn a_citation_lies_where_its_title_stands() {
        let answer = asked("sëarch é search cite", Bounds::default());
        let Some(Part::Message { text, citations }) = answer.parts.last() else {
            panic!("a message")
        };
        for citation in citations {
            if let Citation::Url { title, start, end, .. } = citation {
                let there: String = text.chars().skip(*start).take(end - start).collect();
                assert_eq!(&there, title);
            }
        }
        assert_eq!(citations.len(), 3);
    }

    #[test]
    fn an_answer_that_breaks_off_has_half_of_its_words() {
        let whole = asked("please", Bounds::default()).words();
        let half = asked("fail", Bounds::default());
        assert_eq!((half.words(), half.end), (whole.div_ceil(2), Some(Break::Failed)));
        assert!(text(&half).starts_with("You said: \"fail\""));
    }

    #[test]
    fn a_title_is_made_of_the_first_words() {
        for (opening, expected) in [
            ("what's the weather like in Lisbon today?", "What's the weather like in"),
            ("User: \"hello\"", "Hello"),
            ("…", "New conversation"),
        ] {
            let mut conversation = Conversation::default();
            conversation.instruct("Write a title.");
            conversation.hear(Role::User, vec![Piece::Text(opening)]);
            conversation.hear(Role::User, vec![Piece::Text("error 500 long tool")]);
            assert_eq!(text(&answer(&conversation, Bounds::default()).unwrap()), expected);
        }
    }
}
