//! A CBOR writer that can also be wrong: it writes what it is told.

/// An item.
#[derive(Clone)]
pub(crate) enum C {
    U(u64),
    /// -1 - n.
    N(u64),
    B(Vec<u8>),
    T(String),
    A(Vec<C>),
    M(Vec<(C, C)>),
    /// These bytes as they are.
    Raw(Vec<u8>),
}

impl C {
    pub(crate) fn t(text: &str) -> Self {
        Self::T(text.to_owned())
    }

    pub(crate) fn b(bytes: &[u8]) -> Self {
        Self::B(bytes.to_vec())
    }

    pub(crate) fn raw(hex_text: &str) -> Self {
        Self::Raw(hex::decode(hex_text).unwrap())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::U(n) => head(out, 0, *n),
            Self::N(n) => head(out, 1, *n),
            Self::B(bytes) => {
                head(out, 2, bytes.len() as u64);
                out.extend(bytes);
            }
            Self::T(text) => {
                head(out, 3, text.len() as u64);
                out.extend(text.as_bytes());
            }
            Self::A(items) => {
                head(out, 4, items.len() as u64);
                items.iter().for_each(|item| item.write(out));
            }
            Self::M(entries) => {
                head(out, 5, entries.len() as u64);
                write_entries(out, entries);
            }
            Self::Raw(bytes) => out.extend(bytes),
        }
    }
}

fn write_entries(out: &mut Vec<u8>, entries: &[(C, C)]) {
    for (key, value) in entries {
        key.write(out);
        value.write(out);
    }
}

/// A map of indefinite length.
pub(crate) fn indefinite_map(entries: &[(C, C)]) -> Vec<u8> {
    let mut out = vec![0xbf];
    write_entries(&mut out, entries);
    out.push(0xff);
    out
}

/// The head of an item in its shortest form.
pub(crate) fn head(out: &mut Vec<u8>, major: u8, n: u64) {
    let major = major << 5;
    match n {
        0..=23 => out.push(major | n as u8),
        24..=0xff => out.extend([major | 24, n as u8]),
        0x100..=0xffff => {
            out.push(major | 25);
            out.extend((n as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend((n as u32).to_be_bytes());
        }
        _ => {
            out.push(major | 27);
            out.extend(n.to_be_bytes());
        }
    }
}

/// A map with small keys, to be altered.
#[derive(Clone)]
pub(crate) struct Map(pub(crate) Vec<(C, C)>);

impl Map {
    pub(crate) fn new(entries: Vec<(u64, C)>) -> Self {
        Self(entries.into_iter().map(|(key, value)| (C::U(key), value)).collect())
    }

    fn at(&self, key: u64) -> usize {
        self.0
            .iter()
            .position(|(k, _)| matches!(k, C::U(n) if *n == key))
            .unwrap()
    }

    pub(crate) fn with(&self, key: u64, value: C) -> Self {
        let mut map = self.clone();
        let at = self.at(key);
        map.0[at].1 = value;
        map
    }

    pub(crate) fn without(&self, key: u64) -> Self {
        let mut map = self.clone();
        map.0.remove(self.at(key));
        map
    }

    /// With one more entry at the end.
    pub(crate) fn and(&self, key: C, value: C) -> Self {
        let mut map = self.clone();
        map.0.push((key, value));
        map
    }

    pub(crate) fn swapped(&self, a: u64, b: u64) -> Self {
        let mut map = self.clone();
        map.0.swap(self.at(a), self.at(b));
        map
    }

    pub(crate) fn twice(&self, key: u64) -> Self {
        let mut map = self.clone();
        let at = self.at(key);
        map.0.insert(at, self.0[at].clone());
        map
    }

    /// With a key written in another form.
    pub(crate) fn rekeyed(&self, key: u64, form: C) -> Self {
        let mut map = self.clone();
        let at = self.at(key);
        map.0[at].0 = form;
        map
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        C::M(self.0.clone()).bytes()
    }
}
