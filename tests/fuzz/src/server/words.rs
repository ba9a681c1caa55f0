//! Bytes to the tokenizer, and its words to the parsers of requests and of driver messages.

use nut_proto::device::Change;
use nut_proto::driver::{FromDriver, ToDriver};
use nut_proto::lines::{LineBuffer, MAX_LINE};
use nut_proto::net::Request;
use nut_proto::words::{MAX_WORD, MAX_WORDS, Outcome, Tokenizer, Words, quote, split};

/// Plays the bytes.
///
/// # Panics
/// When something does not hold.
pub fn play(bytes: &[u8]) {
    let mut tokenizer = Tokenizer::default();
    let mut since = 0;
    for (at, byte) in (0..).zip(bytes) {
        let outcome = tokenizer.push(*byte);
        assert!(
            tokenizer.memory() <= MAX_WORDS * MAX_WORD + 2 * 1024,
            "{} bytes are kept",
            tokenizer.memory()
        );
        match outcome {
            None => continue,
            Some(Outcome::Line) => {
                check(tokenizer.words());
                // A line that holds no line feed is read as one that was whole from the start.
                let line = bytes.get(since..at).unwrap_or_default();
                let is_plain = !line.contains(&b'\n') && line.len() < MAX_LINE;
                if is_plain && let Ok(words) = split(line) {
                    assert_eq!(&words, tokenizer.words());
                }
            }
            Some(Outcome::Broken(_)) => assert!(!tokenizer.is_half()),
        }
        since = at + 1;
    }
    if let Ok(words) = split(bytes) {
        check(&words);
    }
    lines_do_not_depend_on_cuts(bytes);
}

/// What holds of all words, whatever they were read from.
fn check(words: &Words) {
    assert!(words.len() <= MAX_WORDS);
    assert_eq!(words.iter().count(), words.len());
    let mut line = Vec::new();
    for word in words.iter() {
        assert!(word.len() <= MAX_WORD && word.bytes().all(|byte| (0x20..0x80).contains(&byte)), "{word:?}");
        quote(&mut line, word);
        line.push(b' ');
    }
    let again = split(&line).expect("what is quoted can be read");
    assert!(again.iter().eq(words.iter()), "{words:?} came back as {again:?}");

    let _ = Request::parse(words);
    let message = FromDriver::parse(words);
    if let Ok(FromDriver::Change(Change::Flags { flags, .. })) = &message
        && flags.is_empty()
    {
        // A line with two words, which no upsd takes, ours no more than NUT's (driver-socket §3.4).
        return;
    }
    if let Ok(message) = message {
        let mut line = Vec::new();
        message.encode(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        let again = split(&line).map(|words| FromDriver::parse(&words));
        assert_eq!(again, Ok(Ok(message)));
    }
    if let Ok(order) = ToDriver::parse(words) {
        let mut line = Vec::new();
        order.encode(&mut line);
        assert_eq!(line.pop(), Some(b'\n'));
        let again = split(&line).map(|words| ToDriver::parse(&words));
        assert_eq!(again, Ok(Ok(order)));
    }
}

/// Lines of drivers: how the bytes are cut into reads makes no difference.
fn lines_do_not_depend_on_cuts(bytes: &[u8]) {
    const LIMIT: usize = 64;
    let read = |size: usize| {
        let mut buffer = LineBuffer::with_limit(LIMIT);
        let mut lines = Vec::new();
        for part in bytes.chunks(size) {
            buffer.push(part, |line| lines.push(line.map(<[u8]>::to_vec)));
        }
        lines
    };
    let whole = read(bytes.len().max(1));
    let size = bytes.first().map_or(1, |byte| usize::from(*byte) + 1);
    assert_eq!(whole, read(size));
}
