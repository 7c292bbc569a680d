package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/bypass"
	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/dashboard"
	"github.com/sedge-proxy/sedge/ledger"
)

func (a *app) bypassCommand() *cobra.Command {
	var flags adminFlags
	var format string
	cmd := &cobra.Command{
		Use:   "bypass",
		Short: "Turn personalization off in an emergency, and on again",
		Long: `Turn off everything, a route, a plugin or an experience of a running node, from the
very next request on, and show what is off.

  everything   every page is the origin's own: nobody is identified, nothing is
               asked, changed or recorded. Calls of the event API go on.
  route        the same for its pages
  plugin       it is not called, and its experiences are off
  experience   nobody sees it, and nobody is counted for it

A switch holds over restarts and whatever the configuration comes to say, until it
is lifted; then the configuration counts again. Where no node runs, the switch
waits in the data directory for its start.`,
		Example: `  sedge bypass on
  sedge bypass off
  sedge bypass on experience christmas --reason "wrong prices"
  sedge bypass on plugin recommendations
  sedge bypass                                          what is off?`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.bypass(cmd.Context(), &flags, format, bypassCall{method: http.MethodGet})
		},
	}
	flags.registerOn(cmd.PersistentFlags())
	cmd.PersistentFlags().StringVar(&format, "format", "table", "table or json")
	cmd.AddCommand(a.bypassOnCommand(&flags, &format), a.bypassOffCommand(&flags, &format), &cobra.Command{
		Use:   "list",
		Short: "Show what is off",
		Args:  cobra.NoArgs,
		RunE:  cmd.RunE,
	})
	return cmd
}

func (a *app) bypassOnCommand(flags *adminFlags, format *string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "on [everything | route NAME | plugin NAME | experience NAME]",
		Short: "Turn something off; everything if nothing is named",
		Example: `  sedge bypass on
  sedge bypass on route checkout
  sedge bypass on experience christmas --reason "wrong prices"`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := bypassTarget(args)
			if err != nil {
				return err
			}
			target.Reason = reason
			return a.bypass(cmd.Context(), flags, *format, bypassCall{http.MethodPut, target})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "what others shall know of it")
	return cmd
}

func (a *app) bypassOffCommand(flags *adminFlags, format *string) *cobra.Command {
	return &cobra.Command{
		Use:   "off [everything | route NAME | plugin NAME | experience NAME]",
		Short: "Lift a switch; that of everything if nothing is named",
		Example: `  sedge bypass off
  sedge bypass off experience christmas`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := bypassTarget(args)
			if err != nil {
				return err
			}
			return a.bypass(cmd.Context(), flags, *format, bypassCall{http.MethodDelete, target})
		},
	}
}

func bypassTarget(args []string) (bypass.Switch, error) {
	target := bypass.Switch{Kind: bypass.Everything}
	if len(args) > 0 {
		target.Kind = bypass.Kind(args[0])
	}
	if len(args) > 1 {
		target.Name = args[1]
	}
	return target, target.Check()
}

// bypassCall is one call about switches: GET lists, PUT sets, DELETE lifts.
type bypassCall struct {
	method string
	bypass.Switch
}

func (c bypassCall) path() string {
	path := "/api/v1/switches"
	if c.method != http.MethodGet {
		path += "/" + url.PathEscape(string(c.Kind))
	}
	if c.Name != "" {
		path += "/" + url.PathEscape(c.Name)
	}
	return path
}

// bypass makes the call to the running node, or to the file that the next start
// reads, and shows what is off then.
func (a *app) bypass(ctx context.Context, flags *adminFlags, format string, call bypassCall) error {
	if err := checkFormat(format); err != nil {
		return err
	}
	var body any
	if call.Reason != "" {
		body = map[string]string{"reason": call.Reason}
	}
	var off dashboard.SwitchList
	dataDir, err := flags.ask(ctx, call.method, call.path(), body, &off)
	noNode := errors.Is(err, errNoNode)
	if noNode {
		off.Switches, err = call.onFiles(dataDir, flags.nodeConfig(dataDir))
	}
	if err != nil {
		return err
	}
	if format == "json" {
		return a.printJSON(off)
	}
	if noNode {
		fmt.Fprintf(a.stdout, "No node runs; this is for its next start with %s.\n", dataDir)
	}
	if len(off.Switches) == 0 {
		fmt.Fprintln(a.stdout, "Nothing is off.")
		return nil
	}
	printOff(a.stdout, off.Switches)
	if call.method == http.MethodDelete && slices.ContainsFunc(off.Switches, func(o dashboard.Off) bool {
		return o.Kind == call.Kind && o.Name == call.Name && o.Config
	}) {
		fmt.Fprintf(a.stdout, "\nThe configuration keeps it off: %s\n", call.Switch)
	}
	return nil
}

// onFiles makes the call to the files of a node that does not run.
func (c bypassCall) onFiles(dataDir string, cfg *config.Config) ([]dashboard.Off, error) {
	files, err := ledger.OpenReadOnly(dataDir) // a running node keeps it locked
	if err != nil {
		return nil, fmt.Errorf("no node answers, and its files cannot be changed: %w", err)
	}
	defer files.Close()
	store, err := bypass.Open(dataDir, time.Now)
	switch c.method {
	case http.MethodPut:
		if err = checkNamed(cfg, c.Switch); err == nil {
			err = store.Set(c.Kind, c.Name, c.Reason)
		}
	case http.MethodDelete:
		err = store.Lift(c.Kind, c.Name)
	}
	return allOff(cfg, store.List()), err
}

// offInFiles is what is off when a node starts that does not run.
func offInFiles(dataDir string, cfg *config.Config) []dashboard.Off {
	store, _ := bypass.Open(dataDir, time.Now) // the switch that a damaged file leads to says so
	return allOff(cfg, store.List())
}

// printOff writes what is off as a table.
func printOff(w io.Writer, offs []dashboard.Off) {
	rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "OFF\tname\tsince\twhy")
	for _, off := range offs {
		since, why := "", off.Reason
		if !off.Since.IsZero() {
			since = off.Since.Format(time.RFC3339)
		}
		switch {
		case off.Config:
			why = "by the configuration"
		case off.NamesNothing:
			why = strings.TrimSpace(why + " (names nothing in the configuration)")
		}
		fmt.Fprintf(rows, "%s\t%s\t%s\t%s\n", off.Kind, off.Name, since, why)
	}
	rows.Flush()
}
