package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/config"
	"github.com/sedge-proxy/sedge/decision"
	"github.com/sedge-proxy/sedge/plugins/plan"
	"github.com/sedge-proxy/sedge/segmenter"
)

func (a *app) validateCommand() *cobra.Command {
	var flags nodeFlags
	var format string
	cmd := &cobra.Command{
		Use:   "validate -c FILE",
		Short: "Check a configuration, every fault at once",
		Long: `Check a configuration as "serve" would read it: compile its rules and selectors,
start its plugins and let them check their settings. Each fault is printed as
FILE:LINE:COLUMN: what is wrong. Exit code 1 if there is any. What is no fault but
costs much is printed as FILE:LINE:COLUMN: warning: what it is.`,
		Example: `  sedge validate -c sedge.yaml
  sedge validate -c sedge.yaml --format json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return fmt.Errorf("--format %q: expected text or json", format)
			}
			cfg, err := flags.load()
			var warnings config.Problems
			if cfg != nil { // what is wrong already need not hide the rest
				warnings, err = checkPlugins(cmd.Context(), cfg)
			}
			return a.printValidation(&flags, cfg, warnings, err, format)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}

func (a *app) printValidation(flags *nodeFlags, cfg *config.Config, warnings config.Problems, err error, format string) error {
	var problems config.Problems
	if err != nil && !errors.As(err, &problems) {
		if format == "text" {
			return err
		}
		file, _ := flags.path()
		problems = config.Problems{{File: file, Line: 1, Column: 1, Message: err.Error()}}
	}
	if format == "json" {
		result := struct {
			Valid    bool            `json:"valid"`
			Problems config.Problems `json:"problems"`
			Warnings config.Problems `json:"warnings"`
		}{err == nil, append(config.Problems{}, problems...), append(config.Problems{}, warnings...)}
		if err := a.printJSON(result); err != nil {
			return err
		}
	} else if err != nil {
		fmt.Fprintln(a.stdout, problems.Error())
		fmt.Fprintf(a.stderr, "sedge: %s\n", countProblems(len(problems)))
	}
	if err != nil {
		return errReported
	}
	if format == "text" {
		for _, w := range warnings {
			fmt.Fprintln(a.stdout, w.Warning())
		}
		fmt.Fprintf(a.stdout, "%s is valid: %d segments, %d experiences, %d experiments, %d goals\n", cfg.File(),
			len(cfg.Segments), len(cfg.Experiences), len(cfg.Experiments), len(cfg.Goals))
	}
	return nil
}

// checkPlugins starts the plugins, lets them check their settings, and stops them. Of a
// configuration without a fault it returns what may cost much.
func checkPlugins(ctx context.Context, cfg *config.Config) (warnings config.Problems, err error) {
	sockets, err := os.MkdirTemp("", "sedge")
	if err != nil {
		return nil, fmt.Errorf("make a directory for plugin sockets: %w", err)
	}
	defer os.RemoveAll(sockets)
	logger := slog.New(slog.DiscardHandler)
	plugins := newPluginHost(sockets, logger)
	defer plugins.Close(context.WithoutCancel(ctx))
	bound, faults, err := bindExperiences(ctx, cfg, plugins)
	if err != nil {
		return nil, err
	}
	defer bound.trial.Keep()
	defer bound.release()
	if rules, wrong := segmenter.Compile(cfg.Rules()); len(wrong) == 0 {
		planner, _, more, err := planPages(ctx, cfg, bound, rules, time.Now, logger)
		if err != nil {
			return nil, err
		}
		if faults = append(faults, more...); planner != nil {
			planner.Close()
		}
	}
	if problems := cfg.Problems(faults); len(problems) > 0 {
		return nil, problems
	}
	costly := append(unnamedCookies(cfg), bound.place(plan.Multiplying(bound.experiences, populationOf(cfg)))...)
	return cfg.Problems(costly), nil
}

// unnamedCookies finds the routes whose pages are not shared with people who have cookies,
// since nobody has said which of them matter.
func unnamedCookies(cfg *config.Config) (faults decision.Faults) {
	for i := range cfg.Routes {
		if cfg.Routes[i].Cache.SharesUnasked() {
			faults.Add("routes["+strconv.Itoa(i)+"].cache.ttl", "no bypass_cookies beside it, so people with any cookie but those of common analytics are answered by the origin each time; "+
				"name there the cookies by which the site knows people, or its preset (wordpress, magento, php), or none if it knows nobody")
		}
	}
	return faults
}

// populationOf is what tells the site's visitors apart.
func populationOf(cfg *config.Config) (p plan.Population) {
	for _, segment := range cfg.Segments {
		p.Segments = append(p.Segments, segment.Name)
	}
	for _, x := range cfg.Experiments {
		split := plan.Split{Name: x.Name, Segment: x.Segment}
		for _, arm := range x.Arms {
			split.Arms = append(split.Arms, arm.Name)
		}
		p.Experiments = append(p.Experiments, split)
	}
	return p
}
