//! Where each request of a connection begins and ends, read so strictly that no two readers can disagree.
//!
//! A proxy in front and this service must cut the same bytes into the same requests. Where they differ, a client hides
//! a second request inside its first one (request smuggling). So each form that some reader takes for something else is
//! refused here: bare line feeds, two lengths, folded lines, spaces before a colon and their like (RFC 9112). What
//! passes has one meaning only, which is the one that actix-http gives it.
//!
//! Pure: bytes go in, a judgement comes out. `web::wire` does the reading and the answering.

/// The longest request line, its method and version included.
const LONGEST_LINE: usize = 8 * 1024;
/// The longest head of a request: its request line and all its header fields.
const LONGEST_HEAD: usize = 32 * 1024;
/// Header fields of one request: as many as actix-http reads.
const MOST_FIELDS: u16 = 96;
/// The longest line that announces a chunk, its extensions included.
const LONGEST_CHUNK_LINE: usize = 256;
/// All trailer fields after a chunked body, which are read and dropped.
const LONGEST_TRAILER: usize = 4 * 1024;

/// Why a request is not read on, in words for its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

const BARE_LINE_FEED: Refusal = Refusal("A line ends with LF alone. Lines of HTTP end with CR LF.");
const BAD_NAME: Refusal = Refusal("A header field has no valid name, or a space before its colon.");
const BAD_VALUE: Refusal = Refusal("A header field holds a control character.");
const FOLDED: Refusal = Refusal("A header field goes on in the next line. Send it in one line.");
const BAD_LENGTH: Refusal = Refusal("Content-Length must appear once, as a decimal number.");
const BAD_CODING: Refusal = Refusal("Transfer-Encoding must appear once, as `chunked`, in HTTP/1.1.");
const TWO_LENGTHS: Refusal = Refusal("Content-Length and Transfer-Encoding exclude each other.");
const BAD_HOST: Refusal = Refusal("A request has exactly one Host, which names a host and perhaps a port.");
const NO_LENGTH: Refusal = Refusal("A POST of HTTP/1.0 needs a Content-Length.");
const BAD_REQUEST_LINE: Refusal = Refusal("The request line is not `METHOD /path HTTP/1.1`.");
const BAD_METHOD: Refusal = Refusal("The method is not a name.");
const BAD_TARGET: Refusal = Refusal("The request target is no valid path: percent-encode other characters.");
const BAD_VERSION: Refusal = Refusal("This service speaks HTTP/1.1 and HTTP/1.0.");
const NO_TUNNEL: Refusal = Refusal("This service is no proxy and does not upgrade connections.");
const BAD_CHUNK: Refusal = Refusal("A chunk of the body does not have the form of RFC 9112.");
// 400 and not 414 or 431: the document promises 400 at every address, and a client can do as little about it.
const LONG_LINE: Refusal = Refusal("The request line may hold 8192 bytes.");
const LONG_HEAD: Refusal = Refusal("The headers may hold 32768 bytes and 96 fields.");

/// What of a head decides where its request ends, and whether another one may follow.
#[derive(Clone, Copy, Debug)]
struct Facts {
    is_old: bool,
    is_post: bool,
    has_host: bool,
    length: Option<u64>,
    is_chunked: bool,
    says_close: bool,
    says_keep_alive: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum At {
    /// A head, of which the lines before this byte are in order. `facts` are known after its request line.
    Head {
        line: usize,
        fields: u16,
        facts: Option<Facts>,
    },
    /// So many more bytes of a body with a length.
    Body(u64),
    ChunkLine,
    Chunk(u64),
    ChunkEnd,
    /// The trailer, of which the lines before this byte are in order.
    Trailer(usize),
    /// The last request was complete: its sender asked for the connection to be closed after it.
    End,
}

const NEW: At = At::Head { line: 0, fields: 0, facts: None };
const NO_FACTS: Facts = Facts {
    is_old: false,
    is_post: false,
    has_host: false,
    length: None,
    is_chunked: false,
    says_close: false,
    says_keep_alive: false,
};

/// What can be said of bytes.
enum Step {
    /// The first of them are in order.
    Pass(usize),
    /// More must come first.
    Wait,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug)]
pub struct Framing {
    at: At,
    /// Where the request at hand leaves it.
    next: At,
    requests: u64,
}

impl Default for Framing {
    fn default() -> Self {
        Self { at: NEW, next: NEW, requests: 0 }
    }
}

impl Framing {
    /// How many heads were in order.
    pub fn requests(&self) -> u64 {
        self.requests
    }

    /// Whether the next byte is one of a head.
    pub fn is_at_head(&self) -> bool {
        matches!(self.at, At::Head { .. })
    }

    /// Whether nothing after the bytes that passed is a request.
    pub fn is_at_end(&self) -> bool {
        matches!(self.at, At::End)
    }

    /// How many of these bytes are in order, and why no byte after them ever will be. The bytes must begin with the
    /// first one that was not in order last time.
    pub fn judge(&mut self, bytes: &[u8]) -> (usize, Option<Refusal>) {
        let mut passed = 0;
        while passed < bytes.len() {
            match self.step(&bytes[passed..]) {
                Ok(Step::Pass(count)) => passed += count,
                Ok(Step::Wait) => break,
                Err(refusal) => return (passed, Some(refusal)),
            }
        }
        (passed, None)
    }

    fn step(&mut self, bytes: &[u8]) -> Result<Step, Refusal> {
        match self.at {
            At::Head { line, fields, facts } => self.head(bytes, line, fields, facts),
            At::Body(left) => Ok(self.body(bytes, left, At::Body, self.next)),
            At::Chunk(left) => Ok(self.body(bytes, left, At::Chunk, At::ChunkEnd)),
            At::ChunkLine => {
                let Some(line) = line_of(bytes, LONGEST_CHUNK_LINE, BAD_CHUNK)? else { return Ok(Step::Wait) };
                let size = chunk_size(line).ok_or(BAD_CHUNK)?;
                self.at = if size == 0 { At::Trailer(0) } else { At::Chunk(size) };
                Ok(Step::Pass(line.len() + 2))
            }
            At::ChunkEnd => match bytes {
                [b'\r', b'\n', ..] => {
                    self.at = At::ChunkLine;
                    Ok(Step::Pass(2))
                }
                [] | [b'\r'] => Ok(Step::Wait),
                _ => Err(BAD_CHUNK),
            },
            At::Trailer(start) => self.trailer(bytes, start),
            At::End => Ok(Step::Wait),
        }
    }

    fn body(&mut self, bytes: &[u8], left: u64, more: fn(u64) -> At, then: At) -> Step {
        let count = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - count as u64;
        self.at = if left == 0 { then } else { more(left) };
        Step::Pass(count)
    }

    fn head(
        &mut self,
        bytes: &[u8],
        mut start: usize,
        mut fields: u16,
        mut facts: Option<Facts>,
    ) -> Result<Step, Refusal> {
        // TLS to a plain port and other protocols are told at once: they may never send a line feed.
        if bytes.first().is_some_and(|first| !b"\r\n".contains(first) && !is_token(&[*first])) {
            return Err(BAD_METHOD);
        }
        loop {
            let (longest, too_long) = match facts {
                None => (LONGEST_LINE, LONG_LINE),
                Some(_) => (LONGEST_HEAD.saturating_sub(start), LONG_HEAD),
            };
            let Some(line) = line_of(&bytes[start..], longest, too_long)? else {
                self.at = At::Head { line: start, fields, facts };
                return Ok(Step::Wait);
            };
            let next = start + line.len() + 2;
            match (&mut facts, line) {
                // RFC 9112, 2.2: one empty line before a request is passed over.
                (None, []) if start == 0 => {}
                (None, line) => facts = Some(request_line(line)?),
                (Some(facts), []) => {
                    self.next = if facts.is_last() { At::End } else { NEW };
                    self.at = facts.what_follows()?.unwrap_or(self.next);
                    self.requests += 1;
                    return Ok(Step::Pass(next));
                }
                (Some(facts), line) => {
                    fields += 1;
                    if fields > MOST_FIELDS {
                        return Err(LONG_HEAD);
                    }
                    field(line, facts)?;
                }
            }
            start = next;
        }
    }

    fn trailer(&mut self, bytes: &[u8], mut start: usize) -> Result<Step, Refusal> {
        loop {
            let left = LONGEST_TRAILER.saturating_sub(start);
            let Some(line) = line_of(&bytes[start..], left, BAD_CHUNK)? else {
                self.at = At::Trailer(start);
                return Ok(Step::Wait);
            };
            start += line.len() + 2;
            if line.is_empty() {
                self.at = self.next;
                return Ok(Step::Pass(start));
            }
            // A trailer that speaks of the framing means something to some readers.
            let mut facts = NO_FACTS;
            field(line, &mut facts)?;
            if facts.length.is_some() || facts.is_chunked || facts.has_host {
                return Err(BAD_CHUNK);
            }
        }
    }
}

impl Facts {
    /// The body, if there is one.
    fn what_follows(&self) -> Result<Option<At>, Refusal> {
        match (self.length, self.is_chunked) {
            _ if !self.has_host && !self.is_old => Err(BAD_HOST),
            (Some(_), true) => Err(TWO_LENGTHS),
            (None, true) if self.is_old => Err(BAD_CODING),
            (None, true) => Ok(Some(At::ChunkLine)),
            (None, false) if self.is_old && self.is_post => Err(NO_LENGTH),
            (None | Some(0), false) => Ok(None),
            (Some(length), false) => Ok(Some(At::Body(length))),
        }
    }

    fn is_last(&self) -> bool {
        self.says_close || (self.is_old && !self.says_keep_alive)
    }
}

/// The line at the beginning of these bytes, without its end; `None` if it is not complete.
fn line_of(bytes: &[u8], longest: usize, too_long: Refusal) -> Result<Option<&[u8]>, Refusal> {
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) if end > longest => Err(too_long),
        Some(end) => match bytes[..end].split_last() {
            Some((b'\r', line)) => Ok(Some(line)),
            _ => Err(BARE_LINE_FEED),
        },
        None if bytes.len() > longest => Err(too_long),
        None => Ok(None),
    }
}

fn request_line(line: &[u8]) -> Result<Facts, Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(BAD_REQUEST_LINE);
    };
    if !is_token(method) {
        return Err(BAD_METHOD);
    }
    if method == b"CONNECT" {
        return Err(NO_TUNNEL);
    }
    let is_old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ if version.starts_with(b"HTTP/") => return Err(BAD_VERSION),
        _ => return Err(BAD_REQUEST_LINE),
    };
    if !is_target(target) {
        return Err(BAD_TARGET);
    }
    Ok(Facts { is_old, is_post: method == b"POST", ..NO_FACTS })
}

/// Whether actix-http reads this as an address. A fragment never belongs into one.
fn is_target(target: &[u8]) -> bool {
    let is_plain = |byte: &u8| IS_PLAIN[usize::from(*byte)];
    match target {
        [] => false,
        [b'/', rest @ ..] if rest.iter().all(is_plain) => true,
        _ => !target.contains(&b'#') && target.is_ascii() && actix_web::http::Uri::try_from(target).is_ok(),
    }
}

fn field(line: &[u8], facts: &mut Facts) -> Result<(), Refusal> {
    if line.first().is_some_and(|byte| b" \t".contains(byte)) {
        return Err(FOLDED);
    }
    let end = line.iter().position(|byte| !IS_TOKEN[usize::from(*byte)]).ok_or(BAD_NAME)?;
    let (name, [b':', value @ ..]) = line.split_at(end) else { return Err(BAD_NAME) };
    if name.is_empty() {
        return Err(BAD_NAME);
    }
    // No branch in the loop, so that the compiler takes many bytes at once.
    if value.iter().fold(false, |bad, byte| bad | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f)) {
        return Err(BAD_VALUE);
    }
    let value = value.trim_ascii();
    // All other names are of other lengths, mostly: comparing is rare.
    match name.len() {
        4 if name.eq_ignore_ascii_case(b"host") => {
            if facts.has_host || !is_host(value) {
                return Err(BAD_HOST);
            }
            facts.has_host = true;
        }
        10 if name.eq_ignore_ascii_case(b"connection") => {
            for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
                facts.says_close |= option.eq_ignore_ascii_case(b"close");
                facts.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        7 if name.eq_ignore_ascii_case(b"upgrade") && value.eq_ignore_ascii_case(b"websocket") => {
            return Err(NO_TUNNEL);
        }
        14 if name.eq_ignore_ascii_case(b"content-length") => {
            if facts.length.is_some() {
                return Err(BAD_LENGTH);
            }
            facts.length = Some(number(value).ok_or(BAD_LENGTH)?);
        }
        17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
            if facts.is_chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(BAD_CODING);
            }
            facts.is_chunked = true;
        }
        _ => {}
    }
    Ok(())
}

/// Digits and nothing else: `parse` alone takes a sign.
fn number(digits: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit))?;
    text.parse().ok()
}

/// The size in the line of a chunk. Its extensions mean nothing here, and hold nothing that a reader could take for an
/// end of the line.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    let (digits, extensions) = line.split_at(end);
    let is_plain = extensions.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    let is_size = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    let text = std::str::from_utf8(digits).ok().filter(|_| is_size && is_plain)?;
    u64::from_str_radix(text, 16).ok()
}

/// A name of RFC 9110, 5.6.2.
fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| IS_TOKEN[usize::from(*byte)])
}

/// Which bytes a name is made of. These two are tables because every byte of most heads is looked up in one.
const IS_TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");
/// Bytes that mean nothing in an address but themselves.
const IS_PLAIN: [bool; 256] = letters_digits_and(b"/-._~%?&=:,+");

const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// What a Host may be made of; empty is allowed (RFC 9110, 7.2).
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: &str = "GET /v1/shops?a=%20 HTTP/1.1\r\nHost: x:8080\r\nAccept: */*\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n\
                           2;a=\"b\"\r\n\n\n\r\n0\r\nx-sum: 1\r\n\r\n";
    const COUNTED: &str = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\nab\n\n";

    #[test]
    fn requests_in_order_pass_however_they_are_cut() {
        let last = "POST / HTTP/1.0\r\nconnection: x, keep-alive\r\ncontent-length: 0\r\n\r\n";
        let all = [GET, CHUNKED, COUNTED, "\r\n", GET, last].concat();
        let bytes = all.as_bytes();
        for size in 1..bytes.len() {
            let (mut framing, mut held, mut passed) = (Framing::default(), Vec::new(), 0);
            for part in bytes.chunks(size) {
                held.extend_from_slice(part);
                let (count, refusal) = framing.judge(&held);
                assert_eq!(refusal, None, "{size}");
                held.drain(..count);
                passed += count;
            }
            assert_eq!((passed, framing.requests(), framing.is_at_head()), (bytes.len(), 5, true), "{size}");
        }
    }

    #[test]
    fn a_refusal_does_not_depend_on_how_the_bytes_are_cut() {
        for bad in ["GET / HTTP/1.1\nHost: x\n\n", "GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", "\u{16}\u{3}\u{1}"] {
            let whole = Framing::default().judge(bad.as_bytes()).1;
            assert!(whole.is_some(), "{bad:?}");
            let (mut framing, mut held, mut found) = (Framing::default(), Vec::new(), None);
            for byte in bad.bytes() {
                held.push(byte);
                found = found.or_else(|| framing.judge(&held).1);
            }
            assert_eq!(found, whole, "{bad:?}");
        }
    }

    #[test]
    fn what_precedes_a_refusal_passes() {
        let (passed, refusal) = Framing::default().judge(format!("{GET}GET / HTTP/1.1\r\n\r\n").as_bytes());
        assert_eq!((passed, refusal), (GET.len(), Some(BAD_HOST)));
    }

    #[test]
    fn nothing_after_the_last_request_is_one() {
        for last in [
            "GET / HTTP/1.1\r\nhost: x\r\nconnection: te, Close\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx",
            "PUT / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ] {
            let mut framing = Framing::default();
            assert_eq!(framing.judge(format!("{last}{GET}").as_bytes()), (last.len(), None), "{last:?}");
            assert!(framing.is_at_end());
        }
    }

    #[test]
    fn heads_have_an_end() {
        let judge = |text: String| Framing::default().judge(text.as_bytes()).1;
        assert_eq!(judge(format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(8_000))), None);
        for tail in ["", " HTTP/1.1\r\nhost: x\r\n\r\n"] {
            assert_eq!(judge(format!("GET /{}{tail}", "a".repeat(9_000))), Some(LONG_LINE));
            let fields = "a: b\r\n".repeat(97);
            assert_eq!(judge(format!("GET / HTTP/1.1\r\n{fields}{tail}")), Some(LONG_HEAD));
            let field = "b".repeat(33_000);
            assert_eq!(judge(format!("GET / HTTP/1.1\r\nhost: x\r\na: {field}{tail}")), Some(LONG_HEAD));
        }
        let fields = "a: b\r\n".repeat(95);
        assert_eq!(judge(format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}\r\n")), None);
    }
}
