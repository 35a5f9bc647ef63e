# The commands of this project. What each does stands in scripts/; here are only their names.

.DEFAULT_GOAL := help
.PHONY: help deps deps-run deps-test run test check bench fuzz web screenshots clean-demo soak sbom

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## install what is missing, build, and start Airwave with a demo broadcast (HOST=0.0.0.0 for other machines)
	@scripts/run.sh

test: ## install what is missing and run the whole gate, the same as CI
	@scripts/test.sh

soak: ## what is too long for the gate: kills, floods, long plays, fuzzing (FUZZ_MINUTES=0 without)
	@scripts/soak.sh

check: ## format, lint, types and the repository's rules; installs nothing
	@scripts/check.sh

fuzz: ## run every fuzz target for MINUTES (30), JOBS (2) at a time, and tell what came of it
	@scripts/fuzz.sh

bench: ## measure what it costs, beside nginx (QUICK=1: roughly; a machine at rest); figures in bench/RESULTS.md
	@scripts/bench.sh

deps: deps-test ## install what `run` and `test` need; asks first (YES=1: does not)

deps-run: ## install only what `run` needs
	@scripts/deps.sh run

deps-test:
	@scripts/deps.sh test

sbom: ## write what a release is made of (CycloneDX) into .cache/dist
	@scripts/sbom.sh

web: ## build the player and the pages into web/dist, if they changed
	@scripts/web.sh build

screenshots: ## make the pictures in the README anew, of the demo (docs/images)
	@scripts/screenshots.sh

clean-demo: ## forget the demo's clip; asks before it deletes DATA, which has everything else
	@scripts/clean-demo.sh
