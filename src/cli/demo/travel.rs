//! The chapter on time travel, told before the erasure, and its question asked again after it.

use super::excerpt::first_lines;
use super::stage::Line;
use super::tour::Tour;
use crate::cli::failure::Failure;

/// What the state of a contract was at its first version.
const QUESTION: [&str; 8] = [
    "as-of",
    "--data",
    "data",
    "--stream",
    "contract-1",
    "--version",
    "1",
    "--reveal",
];

impl Tour {
    pub(super) fn travel(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "Time travel",
            "   A contract changes twice. Its state is folded from the events, now or as of any moment; personal data beside it.",
        );
        let signed = format!(r#"{}={{"name": "M. Example", "street": "Old Street 1"}}"#, self.person);
        let moved = format!(r#"{}={{"street": "New Street 2"}}"#, self.person);
        self.contract("contract.signed", r#"{"plan": "basic", "months": 12}"#, &signed)?;
        self.contract("contract.changed", r#"{"plan": "plus"}"#, &moved)?;
        self.stage.say("   As it stood at first, opened by somebody who may:");
        self.ask(&QUESTION)?;
        self.stage.say("   And what has changed since:");
        self.ask(&[
            "as-of",
            "--data",
            "data",
            "--stream",
            "contract-1",
            "--diff-from-version",
            "1",
            "--reveal",
        ])
    }

    /// The same question as before the erasure.
    pub(super) fn travel_again(&mut self) -> Result<(), Failure> {
        self.stage
            .say("   Time travel does not bring it back, either: keys are today's, in every past.");
        self.ask(&QUESTION)
    }

    fn contract(&mut self, event_type: &str, payload: &str, personal: &str) -> Result<(), Failure> {
        let arguments = [
            "append",
            "--data",
            "data",
            "--stream",
            "contract-1",
            "--type",
            event_type,
            "--payload",
            payload,
            "--personal",
            personal,
        ];
        let printed = |out: &str| first_lines(out, 1);
        self.stage.expect(0, &line(&arguments), printed).map(drop)
    }

    fn ask(&mut self, arguments: &[&str]) -> Result<(), Failure> {
        self.stage.expect(0, &line(arguments), str::to_owned).map(drop)
    }
}

fn line<'a>(arguments: &'a [&'a str]) -> Line<'a> {
    Line {
        program: "oubliette",
        arguments,
        stdin: None,
    }
}
