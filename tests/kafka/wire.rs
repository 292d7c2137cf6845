//! Kafka's protocol by hand, for the little that librdkafka's bindings don't offer.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::cluster::PATIENCE;

/// Sends one request to a broker's plain listener and returns the answer's body. For versions whose headers have no
/// tagged fields.
pub fn ask(address: &str, key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Request::default();
    request.int16(key).int16(version).int32(1).int16(-1); // correlation id 1, no client id
    request.0.extend(body);
    let length = i32::try_from(request.0.len()).expect("requests are small");
    stream.write_all(&[&length.to_be_bytes()[..], &request.0].concat())?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4)) // after the correlation id
}

/// What is asked, field by field.
#[derive(Default)]
pub struct Request(pub Vec<u8>);

impl Request {
    pub fn int8(&mut self, value: i8) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn int16(&mut self, value: i16) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn int32(&mut self, value: i32) -> &mut Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn text(&mut self, text: &str) -> &mut Self {
        self.int16(i16::try_from(text.len()).expect("texts are short"));
        self.0.extend(text.as_bytes());
        self
    }
}

/// What is answered, field by field; a field that is not there panics.
pub struct Answer<'a>(pub &'a [u8]);

impl Answer<'_> {
    pub fn int16(&mut self) -> i16 {
        i16::from_be_bytes(self.take())
    }

    pub fn int32(&mut self) -> i32 {
        i32::from_be_bytes(self.take())
    }

    /// A text that may be null, which is an empty one here.
    pub fn text(&mut self) -> String {
        let length = usize::try_from(self.int16()).unwrap_or(0);
        let (text, rest) = self.0.split_at(length);
        self.0 = rest;
        String::from_utf8_lossy(text).into_owned()
    }

    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (field, rest) = self.0.split_first_chunk().expect("the answer is whole");
        self.0 = rest;
        *field
    }
}
