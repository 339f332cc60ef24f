//! What does the model call a thread? Its first message is sent alone, and the answer is made fit
//! for a list.

use std::time::Duration;

use tokio::time::timeout;

use super::ModelAgent;
use crate::config::agents::AgentConfig;
use crate::protocol::UserMessage;
use crate::telemetry::request::Tokens;
use crate::upstream::model::{
    InputItem, InputPart, MessagePart, ModelEvent, ModelRequest, PartKind, Role,
};

const INSTRUCTIONS: &str = "Write a title for a conversation that begins with the user's message: \
    2 to 5 words in the language of the message, without punctuation and without quotation marks. \
    Answer with the title alone. Do not answer the message.";
/// What a conversation is about stands at its beginning.
const READ: usize = 2000;
/// How long the end of a stream may take after the title.
const ENDING: Duration = Duration::from_millis(500);
/// In characters.
const LONGEST: usize = 80;

impl ModelAgent {
    /// What the model calls a thread that begins with this message.
    pub(super) async fn propose_title(&self, message: &UserMessage) -> Option<String> {
        let request = request(&self.config, message)?;
        let mut stream = self.models.stream(&self.endpoint, &request, None).await.ok()?;
        let mut said = None;
        let AgentConfig { name, model, .. } = &*self.config;
        // To the end, if it comes soon, so that the connection is used again.
        loop {
            let next = match said {
                Some(_) => timeout(ENDING, stream.next()).await.ok().flatten(),
                None => stream.next().await,
            };
            match next {
                Some(Ok(ModelEvent::MessageDone { parts, .. })) if said.is_none() => {
                    said = Some(parts)
                }
                Some(Ok(ModelEvent::Completed { usage: Some(usage) })) => {
                    let tokens = Tokens { input: usage.input_tokens, output: usage.output_tokens };
                    self.models.metrics().title_took(name, model, tokens);
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            }
        }
        let is_text = |part: &&MessagePart| part.kind == PartKind::Text;
        cleaned(&said?.iter().find(is_text)?.text)
    }
}

/// The request for a title. `None` for a message without words.
fn request(config: &AgentConfig, message: &UserMessage) -> Option<ModelRequest> {
    let text: String = message.text().chars().take(READ).collect();
    (!text.trim().is_empty()).then(|| ModelRequest {
        model: config.model.clone(),
        instructions: Some(INSTRUCTIONS.to_owned()),
        input: vec![InputItem::Message { role: Role::User, parts: vec![InputPart::Text(text)] }],
        ..ModelRequest::default()
    })
}

/// What a model proposed, as one line, without the quotes and the full stop that models like to
/// add.
fn cleaned(proposal: &str) -> Option<String> {
    let is_separator = |letter: char| letter.is_whitespace() || letter.is_control();
    let plain = |line: &str| {
        line.split(is_separator).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let line = proposal.lines().map(plain).find(|line| !line.is_empty())?;
    let line = without_markdown(line.trim_start_matches(['#', ' ']));
    let is_decoration = |letter: char| letter.is_whitespace() || "\"'“”„‘’«»".contains(letter);
    let title = line.trim_matches(is_decoration);
    let title = title.trim_end_matches(['.', '。']).trim_matches(is_decoration);
    let title = match title.char_indices().nth(LONGEST) {
        Some(_) => title.chars().take(LONGEST - 1).chain(['…']).collect(),
        None => title.to_owned(),
    };
    Some(title).filter(|title| !title.is_empty())
}

/// A line of Markdown as a reader would say it: words that are emphasised, crossed out, set as
/// code, or a link's text.
fn without_markdown(line: &str) -> String {
    let letters: Vec<char> = line.chars().collect();
    let is_word = |at: Option<usize>| {
        at.and_then(|at| letters.get(at)).is_some_and(|letter| !letter.is_whitespace())
    };
    let is_in_name = |at: Option<usize>| {
        at.and_then(|at| letters.get(at)).is_some_and(|letter| letter.is_alphanumeric())
    };
    let (mut plain, mut at) = (String::new(), 0);
    while let Some(&letter) = letters.get(at) {
        let length = letters[at..].iter().take_while(|next| **next == letter).count();
        let (before, after) = (at.checked_sub(1), Some(at + length));
        let is_mark = match letter {
            '`' => true,
            '~' => length == 2,
            // A product, or a list of files.
            '*' => is_word(before) || is_word(after),
            // The name of a variable.
            '_' => !(is_in_name(before) && is_in_name(after)),
            _ => false,
        };
        match (letter, link_text(&letters[at..])) {
            ('[', Some((text, length))) => {
                plain.push_str(&without_markdown(&text));
                at += length;
            }
            _ if is_mark => at += length,
            _ => {
                plain.push(letter);
                at += 1;
            }
        }
    }
    plain
}

/// The text of a link that stands here, and how many letters the link has: `[text](address)`.
fn link_text(letters: &[char]) -> Option<(String, usize)> {
    let end = letters.iter().position(|letter| *letter == ']')?;
    let rest = letters.get(end + 1..).filter(|rest| rest.first() == Some(&'('))?;
    let length = rest.iter().position(|letter| *letter == ')')?;
    Some((letters[1..end].iter().collect(), end + length + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proposal_becomes_one_short_line() {
        for (proposal, title) in [
            ("Weather in Oslo", Some("Weather in Oslo")),
            ("\n  \"Weather  in Oslo.\" \nmore", Some("Weather in Oslo")),
            ("**„Wetter in Oslo“**", Some("Wetter in Oslo")),
            ("# Learning C#", Some("Learning C#")),
            ("**Bold** and `code`", Some("Bold and code")),
            (
                "__Bold__, *soft* and ~~gone~~ of snake_case",
                Some("Bold, soft and gone of snake_case"),
            ),
            ("The product 2 * 3 ~ 6", Some("The product 2 * 3 ~ 6")),
            ("[Weather **in** Oslo](https://yr.no/a_b) [1]", Some("Weather in Oslo [1]")),
            ("## **\"Weather in Oslo\"**", Some("Weather in Oslo")),
            ("오슬로 날씨", Some("오슬로 날씨")),
            ("  \"\" ", None),
            ("", None),
        ] {
            assert_eq!(cleaned(proposal).as_deref(), title, "{proposal:?}");
        }
        assert_eq!(cleaned(&"x".repeat(200)).unwrap().chars().count(), 80);
    }
}
