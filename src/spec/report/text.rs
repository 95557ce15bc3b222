//! The report for people: plain words, and the key to compare where nothing was pinned. Every text that may come from
//! outside is made visible again here, since a report may have been read from JSON.

use std::fmt;

use super::{Report, TrustState, Verdict, visible};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        writeln!(f)?;
        self.write_facts(f)?;
        self.write_trust(f)?;
        self.write_findings(f)?;
        self.write_notes(f)
    }
}

impl Report {
    fn headline(&self) -> String {
        let what = self.object.word();
        match (self.verdict, self.trust) {
            (Verdict::Valid, TrustState::Pinned) => {
                format!("VALID: this {what} is intact and comes from the ledger that you pinned.")
            }
            (Verdict::Valid, TrustState::SelfConsistent) => {
                format!("VALID, BUT ONLY CONSISTENT WITH ITSELF: nothing in this {what} contradicts itself.")
            }
            (Verdict::Incomplete, _) => {
                format!(
                    "INCOMPLETE: nothing in this {what} contradicts the evidence, but not all of it could be checked."
                )
            }
            (Verdict::Tampered, _) => {
                format!("TAMPERED: this {what} is not what was signed. The places are listed below.")
            }
        }
    }

    fn write_facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            writeln!(f, "Ledger    {origin}")?;
        }
        if let Some(root) = &self.root {
            writeln!(f, "Tree      {} events, root {root}", self.tree_size)?;
        }
        let (checked, bodies) = (&self.checked, &self.bodies);
        let how = if self.fast {
            "in batches (--fast)"
        } else {
            "each strictly"
        };
        writeln!(
            f,
            "Checked   {} events, {} signatures ({how}), {} bodies, {} checkpoints",
            checked.events, checked.signatures, checked.bodies, checked.checkpoints
        )?;
        write!(
            f,
            "Bodies    {} present, {} erased, {} purged",
            bodies.present, bodies.erased, bodies.purged
        )?;
        writeln!(
            f,
            ", {} redacted, {} missing, {} with their key unavailable",
            bodies.redacted, bodies.missing, bodies.key_unavailable
        )
    }

    fn write_trust(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trust == TrustState::Pinned {
            return Ok(());
        }
        writeln!(f)?;
        writeln!(
            f,
            "!!! NO TRUSTED KEY: whoever makes a forgery with keys of their own gets the same answer."
        )?;
        match &self.key {
            Some(key) => {
                writeln!(
                    f,
                    "!!! Compare this key with the one that you know from elsewhere, or pass yours with --key:"
                )?;
                writeln!(f, "!!!     {}", visible(key))
            }
            None => writeln!(f, "!!! It names no valid key either. Pass the ledger's key with --key."),
        }
    }

    fn write_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nFindings")?;
        for finding in &self.findings {
            match finding.index {
                Some(index) => write!(f, "  event {index}, {}", visible(&finding.field))?,
                None => write!(f, "  {}", visible(&finding.field))?,
            }
            writeln!(f, ": {}", finding.code)?;
            writeln!(f, "      expected  {}", visible(&finding.expected))?;
            writeln!(f, "      found     {}", visible(&finding.found))?;
        }
        match self.findings_omitted {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.notes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nWhat this does not say")?;
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  - {}", visible(note)))
    }
}
