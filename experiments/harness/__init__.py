"""What every experiment stands on: claims, findings, acceptance rules, the runner, reports and the results page."""
