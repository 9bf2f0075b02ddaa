//! `carrick mirror report`: the stored reports of promotions and failovers.

use carrick_link::report::RpoReport;
use clap::Args;

use super::rpo::render;
use crate::cli::client::Client;
use crate::cli::error::CliResult;
use crate::cli::output::{Output, OutputFormat};
use crate::http::model::{Collection, escape};

/// `mirror report`
#[derive(Debug, Args)]
pub struct Report {
    /// The topics [default: all that were promoted or failed over, including deleted links]
    topics: Vec<String>,
    /// Only reports of this link
    #[arg(long, conflicts_with = "topics")]
    link: Option<String>,
    /// Short for -o json
    #[arg(long)]
    json: bool,
}

/// Prints the reports.
///
/// # Errors
/// A topic that is no mirror or was neither promoted nor failed over, or that the server cannot be
/// reached.
pub fn run(client: &Client, output: Output, report: Report) -> CliResult {
    let output = if report.json {
        Output::new(OutputFormat::Json)
    } else {
        output
    };
    let reports: Vec<RpoReport> = if report.topics.is_empty() {
        let link = escape(report.link.as_deref().unwrap_or("-"));
        let all: Collection<RpoReport> = client.get(&format!("/links/{link}/reports"))?;
        all.data
    } else {
        let topics = report.topics.iter();
        topics
            .map(|topic| get(client, topic))
            .collect::<CliResult<_>>()?
    };
    output.print(&reports, |reports| {
        match (reports.is_empty(), &report.link) {
            (true, Some(link)) => {
                format!("no reports: no mirror of link {link} was promoted or failed over")
            }
            _ => render_all(reports),
        }
    })
}

/// The report of one topic.
pub(super) fn get(client: &Client, topic: &str) -> CliResult<RpoReport> {
    client.get(&format!("/links/-/mirrors/{}/report", escape(topic)))
}

fn render_all(reports: &[RpoReport]) -> String {
    if reports.is_empty() {
        return "no reports: no mirror was promoted or failed over".to_owned();
    }
    let all: Vec<String> = reports.iter().map(render).collect();
    all.join("\n")
}
