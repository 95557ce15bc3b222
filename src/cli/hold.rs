//! `oubliette hold`: legal holds.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::{table, text_argument};
use super::people::{People, add_list, rows, word};
use super::target::OnLedger;

/// Place, list and release legal holds: they block erasures and retention.
#[derive(Debug, Subcommand)]
pub(super) enum Hold {
    /// Place a hold. Data must fit all of people, categories and streams that are named.
    Place(Box<Place>),
    /// List the holds.
    List(List),
    /// Release a hold; erasures that waited for it run.
    Release(Release),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  printf '%s\\n' customer-41 | oubliette hold place --data D --subject - --ground litigation-17")]
pub(super) struct Place {
    #[command(flatten)]
    on: OnLedger,
    #[command(flatten)]
    people: People,
    /// Only data of this category. Repeatable.
    #[arg(long, value_name = "NAME")]
    category: Vec<String>,
    /// Only people with data in this stream. Repeatable.
    #[arg(long, value_name = "NAME")]
    stream: Vec<String>,
    /// Why, as a code such as litigation-17; it stays in clear.
    #[arg(long, value_name = "CODE")]
    ground: String,
    /// Free text, sealed under the person's key: text, or @FILE.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// When it ends by itself (RFC 3339).
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    on: OnLedger,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    #[command(flatten)]
    on: OnLedger,
    /// The hold's id.
    id: uuid::Uuid,
}

impl Hold {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Place(place) => place.run(context)?,
            Self::List(list) => list.run(context)?,
            Self::Release(release) => release.run(context)?,
        }
        Ok(Exit::Fine)
    }
}

impl Place {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut request = Map::new();
        self.people.add_to(&mut request)?;
        add_list(&mut request, "categories", &self.category);
        add_list(&mut request, "streams", &self.stream);
        request.insert("ground".into(), self.ground.as_str().into());
        if let Some(note) = &self.note {
            request.insert("note".into(), text_argument(note)?.as_str().into());
        }
        if let Some(end) = &self.expires_at {
            request.insert("expires_at".into(), end.as_str().into());
        }
        let session = self.on.open(context)?;
        let answer = session.client.post(&self.on.path("holds"), &[], &request)?;
        let hold: Value = answer.parse()?;
        context.print_raw(&answer.text, || {
            format!(
                "Hold {} ({}): {}",
                word(&hold, "id"),
                word(&hold, "ground"),
                word(&hold, "state")
            )
        })
    }
}

impl List {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let answer = session.client.get(&self.on.path("holds"), &[("limit", "1000")])?;
        let page: Value = answer.parse()?;
        const FIELDS: [&str; 8] = [
            "id",
            "state",
            "ground",
            "handles",
            "categories",
            "streams",
            "placed_at",
            "expires_at",
        ];
        context.print_raw(&answer.text, || table(FIELDS, rows(&page, "holds", FIELDS)))
    }
}

impl Release {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let answer = session.client.delete(&self.on.path(&format!("holds/{}", self.id)))?;
        let hold: Value = answer.parse()?;
        context.print_raw(&answer.text, || format!("Hold {}: {}", self.id, word(&hold, "state")))
    }
}
