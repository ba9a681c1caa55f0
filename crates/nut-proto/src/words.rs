//! A line as words: quoting as NUT does it, on sockets and in files (net-protocol §1, driver-socket §2).
//!
//! [`Tokenizer`] is the resumable machine for a stream of bytes; [`split`] is the same for one line that is already
//! whole. Words are bytes 0x20 to 0x7f; anything else is dropped, as NUT drops it.

use thiserror::Error;

/// Most words of one line that are kept; later ones are dropped without a word, as NUT does.
pub const MAX_WORDS: usize = 32;

/// Longest word that is kept, in bytes; the rest of a longer one is dropped, as NUT does.
pub const MAX_WORD: usize = 512;

/// Most bytes of one value behind its backslashes that NUT keeps and serves.
pub const MAX_ENCODED: usize = 255;

/// Memory a tokenizer may keep between lines; what a longer line took is given back.
const KEEP: usize = 512;

/// Why a line could not be read as words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WordsError {
    /// A `#` inside quotes without a backslash.
    #[error("unbalanced word due to unescaped # in quotes")]
    BareHash,
    /// More bytes without an end than [`crate::lines::MAX_LINE`]; the tokenizer starts afresh.
    #[error("the line is longer than {} bytes", crate::lines::MAX_LINE)]
    TooLong,
}

/// What a byte completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A line feed: the words of the line stand in [`Tokenizer::words`] until the next byte.
    Line,
    /// The line is broken; the tokenizer stands between words of a new line, with the byte behind the error.
    Broken(WordsError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Between words.
    #[default]
    Gap,
    /// In a word that began without a quote.
    Bare,
    /// Behind a backslash outside quotes.
    BareEscape,
    /// In a word that began with a quote.
    Quoted,
    /// Behind a backslash inside quotes.
    QuotedEscape,
    /// Behind a `#`, up to the end of the line.
    Comment,
    /// A whole line stands in `words`; the next byte begins another.
    Done,
}

/// Where in a line a [`Tokenizer`] stands: who keeps the places of words for messages asks this around each byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Between words, or at the end of a line.
    Gap,
    /// In a word that began without a quote.
    Bare,
    /// In a word that began with a quote.
    Quoted,
    /// Behind a backslash, inside quotes or not.
    Escape,
    /// In a comment.
    Comment,
}

/// The words of one line, without an allocation for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    text: String,
    ends: Vec<usize>,
}

impl Words {
    /// How many words the line has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the line has no word: empty, blank, or a comment.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The word at this place, counted from 0.
    #[must_use]
    pub fn get(&self, nth: usize) -> Option<&str> {
        let end = *self.ends.get(nth)?;
        let start = match nth.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)?,
        };
        self.text.get(start..end)
    }

    /// The words in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + '_ {
        (0..self.len()).map_while(|nth| self.get(nth))
    }

    /// Memory on the heap, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
        if self.text.capacity() > KEEP {
            self.text = String::new();
        }
    }

    fn start(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    fn push(&mut self, byte: u8) {
        let fits = self.ends.len() < MAX_WORDS && self.text.len() - self.start() < MAX_WORD;
        if fits && (0x20..0x80).contains(&byte) {
            self.text.push(char::from(byte));
        }
    }

    fn end_word(&mut self) {
        if self.ends.len() < MAX_WORDS {
            self.ends.push(self.text.len());
        }
    }
}

/// Reads a stream of bytes as lines of words; its state survives wherever the stream is cut.
#[derive(Debug, Default)]
pub struct Tokenizer {
    state: State,
    words: Words,
    taken: usize,
    is_for_files: bool,
}

impl Tokenizer {
    /// For a text that is there as a whole: its lines may have any length, as in NUT. What is kept of one is bounded by
    /// [`MAX_WORDS`] and [`MAX_WORD`] all the same.
    #[must_use]
    pub fn for_files() -> Self {
        Self { is_for_files: true, ..Self::default() }
    }

    /// The words of the line that the last byte completed.
    #[must_use]
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Takes one byte and says what it completed, if anything.
    pub fn push(&mut self, byte: u8) -> Option<Outcome> {
        if self.state == State::Done {
            self.reset();
        }
        self.taken += 1;
        if self.taken > crate::lines::MAX_LINE && byte != b'\n' && !self.is_for_files {
            self.reset();
            return Some(Outcome::Broken(WordsError::TooLong));
        }
        match (self.state, byte) {
            (State::Gap | State::Comment, b'\n') => return Some(self.line()),
            (State::Bare, b'\n') => {
                self.words.end_word();
                return Some(self.line());
            }
            (State::Quoted, b'\n') | (State::Comment | State::Done, _) => {}
            (State::Gap, b'#') => self.state = State::Comment,
            (State::Bare, b'#') => {
                self.words.end_word();
                self.state = State::Comment;
            }
            (State::Quoted, b'#') => {
                self.reset();
                return Some(Outcome::Broken(WordsError::BareHash));
            }
            (State::Gap, b'=') => self.equals_sign(),
            (State::Bare, b'=') => {
                self.words.end_word();
                self.equals_sign();
            }
            (State::Gap | State::Bare, b'\\') => self.state = State::BareEscape,
            (State::Quoted, b'\\') => self.state = State::QuotedEscape,
            (State::Gap, b'"') => self.state = State::Quoted,
            (State::Quoted, b'"') => {
                self.words.end_word();
                self.state = State::Gap;
            }
            (State::Gap, byte) if is_space(byte) => {}
            (State::Bare, byte) if is_space(byte) => {
                self.words.end_word();
                self.state = State::Gap;
            }
            (State::BareEscape, byte) => {
                self.state = State::Bare;
                self.words.push(byte);
            }
            (State::QuotedEscape, byte) => {
                self.state = State::Quoted;
                self.words.push(byte);
            }
            (State::Gap | State::Bare, byte) => {
                self.state = State::Bare;
                self.words.push(byte);
            }
            (State::Quoted, byte) => self.words.push(byte),
        }
        None
    }

    /// Whether a line has begun that is not whole yet.
    #[must_use]
    pub fn is_half(&self) -> bool {
        self.taken > 0 && self.state != State::Done
    }

    /// Where in the line it stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        match self.state {
            State::Gap | State::Done => Position::Gap,
            State::Bare => Position::Bare,
            State::Quoted => Position::Quoted,
            State::BareEscape | State::QuotedEscape => Position::Escape,
            State::Comment => Position::Comment,
        }
    }

    /// Memory on the heap that the words take, in bytes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.words.memory()
    }

    /// Gives back the memory that was taken in advance: for a half line that may have to wait for long.
    pub fn shrink(&mut self) {
        self.words.text.shrink_to_fit();
        self.words.ends.shrink_to_fit();
    }

    /// Forgets the half line.
    pub fn reset(&mut self) {
        self.state = State::Gap;
        self.words.clear();
        self.taken = 0;
    }

    fn line(&mut self) -> Outcome {
        self.state = State::Done;
        Outcome::Line
    }

    fn equals_sign(&mut self) {
        self.words.push(b'=');
        self.words.end_word();
        self.state = State::Gap;
    }
}

/// Reads one line that is already whole (without its line feed). A quote left open ends with the line.
///
/// # Errors
/// [`WordsError::BareHash`] as the tokenizer says, [`WordsError::TooLong`] beyond [`crate::lines::MAX_LINE`].
pub fn split(line: &[u8]) -> Result<Words, WordsError> {
    let mut tokenizer = Tokenizer::default();
    for byte in line {
        if let Some(Outcome::Broken(error)) = tokenizer.push(*byte) {
            return Err(error);
        }
    }
    if matches!(tokenizer.state, State::Bare | State::BareEscape | State::Quoted | State::QuotedEscape) {
        tokenizer.words.end_word();
    }
    Ok(tokenizer.words)
}

/// Appends text with a backslash before each `"`, `\` and `#`.
pub fn escape(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        if needs_backslash(byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Appends text in quotes, escaped.
pub fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// As much of the text as fits into `limit` bytes once escaped, never half an escape.
#[must_use]
pub fn fitting(text: &str, limit: usize) -> &str {
    let mut used = 0;
    for (at, byte) in text.bytes().enumerate() {
        used += if needs_backslash(byte) { 2 } else { 1 };
        if used > limit {
            return crate::names::cut(text, at);
        }
    }
    text
}

/// What a word of a file or of the environment switches: `true`, `on`, `yes`, `1` and their opposites, in any case.
#[must_use]
pub fn truth(word: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|one| one.eq_ignore_ascii_case(word));
    if is(["true", "on", "yes", "1"]) { Some(true) } else { is(["false", "off", "no", "0"]).then_some(false) }
}

const fn needs_backslash(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'#')
}

/// What C's `isspace` says in the C locale, without the line feed.
const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Vec<Result<Vec<String>, WordsError>> {
        let mut tokenizer = Tokenizer::default();
        let mut seen = Vec::new();
        for byte in bytes {
            match tokenizer.push(*byte) {
                Some(Outcome::Line) => seen.push(Ok(tokenizer.words().iter().map(String::from).collect())),
                Some(Outcome::Broken(error)) => seen.push(Err(error)),
                None => {}
            }
        }
        seen
    }

    #[test]
    fn words_as_nut_cuts_them() {
        let cases: [(&str, &[&str]); 22] = [
            ("GET VAR u v", &["GET", "VAR", "u", "v"]),
            ("  a\t b\r", &["a", "b"]),
            ("\"GET\"VAR\"ups1\"", &["GET", "VAR\"ups1\""]),
            ("a \"\" b", &["a", "", "b"]),
            ("\"two words\"", &["two words"]),
            ("\"a\\\"b\\\\c\\#d\"", &["a\"b\\c#d"]),
            ("a\\ b", &["a b"]),
            ("a\\=b", &["a=b"]),
            ("a=b", &["a", "=", "b"]),
            ("a = b", &["a", "=", "b"]),
            ("=", &["="]),
            ("\"a=b\"", &["a=b"]),
            ("NETVER#x", &["NETVER"]),
            ("# all comment \" = \\", &[]),
            ("", &[]),
            ("   ", &[]),
            ("caf\u{e9} x", &["caf", "x"]),
            ("\u{1}\u{2} x", &["", "x"]),
            ("a\u{7f}b", &["a\u{7f}b"]),
            ("say\"x y", &["say\"x", "y"]),
            ("\"a\"\"b\"", &["a", "b"]),
            ("\"a\tb\"", &["ab"]),
        ];
        for (line, expected) in cases {
            let mut bytes = line.as_bytes().to_vec();
            bytes.push(b'\n');
            assert_eq!(all(&bytes), [Ok(expected.iter().map(ToString::to_string).collect())], "{line:?}");
            if !line.contains('\n') {
                assert_eq!(split(line.as_bytes()).unwrap().iter().collect::<Vec<_>>(), expected, "{line:?}");
            }
        }
    }

    #[test]
    fn a_line_goes_on_behind_a_backslash_and_inside_quotes() {
        assert_eq!(all(b"NETVER \\\n \n"), [Ok(vec!["NETVER".into(), String::new()])]);
        assert_eq!(all(b"ab\\\ncd\n"), [Ok(vec!["abcd".into()])]);
        assert_eq!(all(b"\"a\nb\" c\n"), [Ok(vec!["ab".into(), "c".into()])]);
    }

    #[test]
    fn a_bare_hash_in_quotes_breaks_the_line_and_the_next_byte_begins_another() {
        assert_eq!(
            all(b"SET \"a#b\" c\nx\n"),
            [Err(WordsError::BareHash), Ok(vec!["b\"".into(), "c".into()]), Ok(vec!["x".into()])]
        );
    }

    #[test]
    fn too_much_is_cut_as_nut_cuts_it() {
        let many = "w ".repeat(40) + "\n";
        assert_eq!(all(many.as_bytes())[0].as_ref().unwrap().len(), MAX_WORDS);
        let long = "x".repeat(600) + " y\n";
        let words = all(long.as_bytes())[0].clone().unwrap();
        assert_eq!((words[0].len(), words[1].as_str()), (MAX_WORD, "y"));
    }

    #[test]
    fn a_line_without_end_costs_no_memory() {
        let mut tokenizer = Tokenizer::default();
        let mut broken = 0;
        for _ in 0..1_000_000 {
            if let Some(Outcome::Broken(error)) = tokenizer.push(b'"') {
                assert_eq!(error, WordsError::TooLong);
                broken += 1;
            }
        }
        assert!(broken >= 15, "{broken}");
        assert!(tokenizer.words.text.capacity() <= 32 * 1024);
    }

    #[test]
    fn words_that_switch() {
        for (word, expected) in
            [("Yes", Some(true)), ("OFF", Some(false)), ("1", Some(true)), ("2", None), ("", None)]
        {
            assert_eq!(truth(word), expected, "{word:?}");
        }
    }

    #[test]
    fn a_cut_value_never_ends_in_half_an_escape() {
        assert_eq!(fitting("ab\"c", 3), "ab");
        assert_eq!(fitting("ab\"c", 4), "ab\"");
        assert_eq!(fitting("ab\"c", 5), "ab\"c");
    }

    proptest! {
        #[test]
        fn quoting_and_cutting_are_each_others_reverse(words in prop::collection::vec("[ -~]{0,20}", 0..10)) {
            let mut line = Vec::new();
            for word in &words {
                quote(&mut line, word);
                line.push(b' ');
            }
            let read = split(&line).unwrap();
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), words.iter().map(String::as_str).collect::<Vec<_>>());
            line.push(b'\n');
            prop_assert_eq!(all(&line), vec![Ok(words)]);
        }

        #[test]
        fn no_bytes_make_it_stumble_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            for line in all(&bytes).into_iter().flatten() {
                prop_assert!(line.len() <= MAX_WORDS);
                prop_assert!(line.iter().all(|word| word.len() <= MAX_WORD && word.bytes().all(|b| (0x20..0x80).contains(&b))));
            }
            let _ = split(&bytes);
        }
    }
}
