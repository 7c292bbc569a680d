// Command sedge is a personalization edge proxy: it stands in front of a website,
// knows the visitor's segment, and rewrites the page for it on its way out.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/config"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// app is what all commands share.
type app struct {
	stdout, stderr io.Writer
}

// errReported ends a command with exit code 1 when everything has been said.
var errReported = errors.New("already reported")

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	a := &app{stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	a.printError(err)
	return 1
}

func (a *app) printError(err error) {
	var problems config.Problems
	switch {
	case errors.Is(err, errReported):
	case errors.As(err, &problems):
		fmt.Fprintln(a.stderr, problems.Error())
		fmt.Fprintf(a.stderr, "sedge: %s\n", countProblems(len(problems)))
	default:
		fmt.Fprintf(a.stderr, "sedge: %v\n", err)
	}
}

func countProblems(n int) string {
	if n == 1 {
		return "1 problem in the configuration"
	}
	return fmt.Sprintf("%d problems in the configuration", n)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sedge",
		Short: "A personalization edge proxy",
		Long: `Sedge stands in front of a website. It knows the visitor, finds their customer
segment, asks content plugins what that segment should see, rewrites the page on
its way out, and measures per segment what that was worth.`,
		Example: `  sedge demo                                            see it work, with a sample shop
  sedge init --upstream https://www.example.com > sedge.yaml
  sedge serve -c sedge.yaml                             run it in front of your site
  sedge report                                          what each segment and arm was worth
  sedge bypass on                                       an emergency: the site as it is, at once
  sedge cache purge --everything                        forget what is kept of the site's answers`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(
		a.demoCommand(), a.initCommand(), a.serveCommand(), a.validateCommand(),
		a.reportCommand(), a.bypassCommand(), a.cacheCommand(), a.versionCommand(), a.healthcheckCommand(), a.pluginProcessCommand(),
	)
	return root
}
