//! How is an answer put into words? Sentences, what they rest on, and what others said in brief.

use super::conversation::{Attachment, Source};

/// The address that searches and citations lead to.
pub(super) const SOURCE: &str = "https://example.com/sandbox";

/// What a piece of the text rests on. Places are counted in characters.
#[derive(Debug, PartialEq)]
pub(super) enum Citation {
    Url { title: String, url: String, start: usize, end: usize },
    File { name: String, at: usize },
}

/// A text that grows sentence by sentence, with one space between any two words.
#[derive(Debug, Default)]
pub(super) struct Text {
    text: String,
    citations: Vec<Citation>,
}

impl Text {
    /// The text, and what in it rests on what.
    pub(super) fn finish(self) -> (String, Vec<Citation>) {
        (self.text, self.citations)
    }

    /// Adds a sentence.
    pub(super) fn say(&mut self, sentence: &str) {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(sentence);
    }

    /// Adds the title of a page, and what it rests on.
    pub(super) fn cite_url(&mut self, title: &str) {
        self.say(title);
        let end = self.text.chars().count();
        let start = end - title.chars().count();
        self.text.push('.');
        let (title, url) = (title.to_owned(), SOURCE.to_owned());
        self.citations.push(Citation::Url { title, url, start, end });
    }

    /// Lets what was said last rest on a file.
    pub(super) fn cite_file(&mut self, name: &str) {
        let at = self.text.chars().count();
        self.citations.push(Citation::File { name: name.to_owned(), at });
    }

    /// Makes it exactly so many words, by leaving some out or by telling of the sandbox.
    pub(super) fn fit(&mut self, count: usize) {
        const MORE: &str = "A sandbox is a place where nothing breaks that matters. The model in \
                            it is a script, so that it costs nothing, knows nothing, and always \
                            answers the same. What you read here is only there to be long.";
        let words: Vec<&str> =
            self.text.split(' ').chain(MORE.split(' ').cycle()).take(count).collect();
        self.text = words.join(" ");
        let length = self.text.chars().count();
        self.citations.retain(|citation| citation.end() <= length);
    }
}

impl Citation {
    /// Where it ends.
    pub(super) fn end(&self) -> usize {
        match self {
            Self::Url { end, .. } => *end,
            Self::File { at, .. } => *at,
        }
    }
}

/// An attachment in words.
pub(super) fn described(attachment: &Attachment<'_>) -> String {
    let what = match (attachment.image, attachment.name) {
        (true, _) => "an image".to_owned(),
        (false, Some(name)) => format!("the file \"{}\"", clipped(name, 80)),
        (false, None) => "a file".to_owned(),
    };
    match attachment.source {
        Source::Inline { mime, bytes } => format!("{what} ({mime}, {bytes} bytes)"),
        Source::Elsewhere(place) => format!("{what} ({})", clipped(place, 120)),
    }
}

/// On one line, and not longer than so many characters.
pub(super) fn clipped(text: &str, longest: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
