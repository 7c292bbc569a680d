package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/experiment"
	"github.com/sedge-proxy/sedge/kpi"
	"github.com/sedge-proxy/sedge/ledger"
)

func (a *app) reportCommand() *cobra.Command {
	var flags adminFlags
	var format string
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Show what each segment and each arm was worth",
		Long: `Show visitors, sessions, conversion rate and revenue per visitor for each segment
and each arm, and the difference between arms with its 95 % interval.

A running node is asked through its admin listener. Where none runs, the files in
the data directory are read.`,
		Example: `  sedge report
  sedge report -c sedge.yaml --format json
  sedge report --admin http://127.0.0.1:8090 --data-dir ./sedge-data`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			report, err := flags.report(cmd.Context())
			if err != nil {
				return err
			}
			if format == "json" {
				return a.printJSON(report)
			}
			return printReport(a.stdout, report)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&format, "format", "table", "table or json")
	return cmd
}

// report asks the running node, else reads its files.
func (f *adminFlags) report(ctx context.Context) (*dashboard.Report, error) {
	report := new(dashboard.Report)
	dataDir, err := f.ask(ctx, http.MethodGet, "/api/v1/report", nil, report)
	if errors.Is(err, errNoNode) {
		return f.reportFromFiles(ctx, dataDir)
	}
	return report, err
}

// checkFormat says what is wrong with the format of a command that shows a node's answer
// as a table, or as it is.
func checkFormat(format string) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("--format %q: expected table or json", format)
	}
	return nil
}

// printJSON prints a value for programs.
func (a *app) printJSON(value any) error {
	encoder := json.NewEncoder(a.stdout)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(value)
}

// errNoNode says that nothing listens where the node's admin listener should be.
var errNoNode = errors.New("no node runs")

// ask calls the API of the running node, sends a value as JSON unless it is nil, and
// reads the answer into another. It returns the node's data directory.
func (f *adminFlags) ask(ctx context.Context, method, path string, sent, answer any) (dataDir string, err error) {
	base, dataDir, err := f.locate()
	if err != nil {
		return dataDir, err
	}
	token, tokenErr := dashboard.ReadToken(dataDir)
	if tokenErr != nil && f.admin == "" {
		return dataDir, fmt.Errorf("%w: no node has run with this data directory; name another with --data-dir, or -c FILE", tokenErr)
	}
	var text []byte
	if sent != nil {
		if text, err = json.Marshal(sent); err != nil {
			return dataDir, err
		}
	}
	body, code, err := callAdmin(ctx, method, base+path, token, text)
	var refused *net.OpError
	switch {
	case errors.As(err, &refused) && refused.Op == "dial":
		return dataDir, fmt.Errorf("%w at %s", errNoNode, base)
	case err != nil:
		return dataDir, fmt.Errorf("ask the node at %s: %w", base, err)
	case code == http.StatusUnauthorized:
		return dataDir, fmt.Errorf("the node at %s does not accept the token in %s; name its data directory with --data-dir", base, dataDir)
	case code != http.StatusOK:
		var said struct{ Error string }
		if json.Unmarshal(body, &said) != nil || said.Error == "" {
			said.Error = string(body)
		}
		return dataDir, fmt.Errorf("the node at %s answered %d: %s", base, code, said.Error)
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return dataDir, fmt.Errorf("the node at %s answered with something unexpected: %w", base, err)
	}
	return dataDir, nil
}

// reportFromFiles reads the sums of a node that does not run. Events that a killed
// node had no time to apply are in them when it has started again.
func (f *adminFlags) reportFromFiles(ctx context.Context, dataDir string) (*dashboard.Report, error) {
	if _, err := os.Stat(dataDir); err != nil {
		return nil, fmt.Errorf("no node runs, and its data directory cannot be read: %w", err)
	}
	files, err := ledger.OpenReadOnly(dataDir)
	if err != nil {
		return nil, fmt.Errorf("no node runs, and its files cannot be read: %w", err)
	}
	defer files.Close()
	sums, err := files.Summary(ctx)
	if err != nil {
		return nil, err
	}
	cfg := f.nodeConfig(dataDir)
	report := dashboard.BuildReport(sums, experimentsOf(cfg), time.Now())
	report.Switches = offInFiles(dataDir, cfg)
	return report, nil
}

// nodeConfig reads the configuration of a node that does not run; nil where it
// cannot be read.
func (f *adminFlags) nodeConfig(dataDir string) *config.Config {
	path, err := f.path()
	if err != nil {
		path = filepath.Join(dataDir, demoConfig)
	}
	cfg, err := loadConfig(path, f.overrides())
	if err != nil {
		return nil
	}
	return cfg
}

// experimentsOf are those of a configuration, which give arms their order and
// weights; nil for no configuration.
func experimentsOf(cfg *config.Config) *experiment.Experiments {
	if cfg == nil {
		return nil
	}
	holdouts, _ := holdoutsOf(cfg)
	experiments, faults := experiment.Compile(cfg.Experiments, holdouts)
	if len(faults) > 0 {
		return nil
	}
	return experiments
}

// printReport writes a report as tables.
func printReport(w io.Writer, r *dashboard.Report) error {
	out := bufio.NewWriter(w)
	if len(r.Switches) > 0 {
		printOff(out, r.Switches)
		fmt.Fprintln(out)
	}
	if r.Site.Visitors == 0 {
		fmt.Fprintln(out, "No visitors yet. Open the site through Sedge, or start the demo with --traffic 500.")
		return out.Flush()
	}
	segments := table{{"SEGMENT", "visitors", "unconfirmed", "sessions", "conversion", "revenue", "per visitor"}}
	for _, s := range r.Segments {
		segments = append(segments, groupCells(s.Segment, s.GroupReport))
	}
	segments = append(segments, groupCells("all", r.Site))
	segments.print(out)
	for _, e := range r.Experiments {
		printExperiment(out, e)
	}
	fmt.Fprint(out, "\nUnconfirmed: the cookie never came back. Conversion: visitors who reached a goal.\n")
	return out.Flush()
}

func groupCells(name string, g dashboard.GroupReport) []string {
	count := func(n int64) string { return strconv.FormatInt(n, 10) }
	return []string{name, count(g.Visitors), count(g.Unconfirmed), count(g.Sessions), percent(g.ConversionRate), money(g.Revenue), money(g.RevenuePerVisitor)}
}

func printExperiment(w io.Writer, e dashboard.ExperimentReport) {
	kind := "EXPERIMENT "
	if e.Kind == "holdout" {
		kind = "HOLD-OUT OF "
	}
	arms := table{{kind + e.Name, "triggered", "unconfirmed", "sessions", "conversion", "revenue", "per visitor", "delivered"}}
	for _, arm := range e.Arms {
		arms = append(arms, append(groupCells(arm.Arm, arm.GroupReport), percent(arm.DeliveredRate)))
	}
	fmt.Fprintln(w)
	arms.print(w)
	for _, d := range e.Differences {
		if d.Goal == kpi.AnyGoal {
			printDifference(w, d, e.Baseline)
		}
	}
	if e.Crossed > 0 {
		fmt.Fprintf(w, "  %d visitors met two arms and are left out.\n", e.Crossed)
	}
	if s := e.SampleRatio; s != nil && s.Mismatch {
		fmt.Fprintf(w, "  SAMPLE RATIO MISMATCH (p = %.2g): the arms did not get the visitors that their weights say.\n  Something in this experiment is broken; do not trust its figures.\n", float64(s.P))
	}
}

// table is rows of cells: the first column is text, the others are figures.
type table [][]string

func (t table) print(w io.Writer) {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t {
		fmt.Fprintf(w, "%-*s", widths[0], row[0])
		for i, cell := range row[1:] {
			fmt.Fprintf(w, "  %*s", widths[i+1], cell)
		}
		fmt.Fprintln(w)
	}
}

func printDifference(w io.Writer, d dashboard.DifferenceReport, baseline string) {
	what, form := "revenue per visitor", signedMoney
	if d.Metric == dashboard.MetricConversionRate {
		what, form = "conversion", signedPoints
	}
	if math.IsNaN(float64(d.Low)) {
		fmt.Fprintf(w, "  %s against %s, %s: not enough visitors yet\n", d.Arm, baseline, what)
		return
	}
	verdict := "no difference shown"
	if d.Low > 0 || d.High < 0 {
		verdict = "a difference"
	}
	fmt.Fprintf(w, "  %s against %s, %s: %s (95 %% interval %s to %s): %s\n", d.Arm, baseline, what, form(d.Difference), form(d.Low), form(d.High), verdict)
}

func percent(n dashboard.Number) string      { return figure(n, "%.1f %%", 100) }
func money(n dashboard.Number) string        { return figure(n, "%.2f", 1) }
func signedMoney(n dashboard.Number) string  { return figure(n, "%+.2f", 1) }
func signedPoints(n dashboard.Number) string { return figure(n, "%+.1f points", 100) }

func figure(n dashboard.Number, format string, factor float64) string {
	if math.IsNaN(float64(n)) {
		return "–"
	}
	return fmt.Sprintf(format, float64(n)*factor)
}
