package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/sedge-proxy/sedge/dashboard"
)

func (a *app) cacheCommand() *cobra.Command {
	var flags adminFlags
	var format string
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Show and purge what is kept of the origin's answers",
		Long: `Show and purge what a running node keeps of the origin's answers. It keeps them in
its memory, so there is nothing to show where no node runs.`,
		Example: `  sedge cache stats
  sedge cache list https://shop.example/assets/
  sedge cache purge --url https://shop.example/a?b`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	flags.registerOn(cmd.PersistentFlags())
	cmd.PersistentFlags().StringVar(&format, "format", "table", "table or json")
	cmd.AddCommand(a.cachePurgeCommand(&flags, &format), a.cacheListCommand(&flags, &format), a.cacheStatsCommand(&flags, &format))
	return cmd
}

func (a *app) cachePurgeCommand(flags *adminFlags, format *string) *cobra.Command {
	var what dashboard.Purge
	cmd := &cobra.Command{
		Use:   "purge (--url URL | --prefix PREFIX | --tag TAG | --everything)",
		Short: "Let go of answers, so that the origin is asked anew",
		Long: `Let go of what is kept of the origin's answers, with all that was made of them and
what is on its way: whoever asks when the command has ended is shown none of it.

  --url         all answers of a URL, as browsers ask for it; without the parameters
                that the route's cache.ignore_query or key_query leaves out
  --prefix      all whose URL begins so; /assets/ stands for the path on every host
  --tag         all that the origin has tagged so, by Surrogate-Key or Cache-Tag
  --everything  all
  --soft        make them stale and no more: the origin is asked whether they still
                hold. Where an answer allows it (stale-while-revalidate,
                stale-if-error), it serves meanwhile, or while the origin fails

Answers that browsers keep of themselves are out of reach.`,
		Example: `  sedge cache purge --url https://shop.example/a?b
  sedge cache purge --prefix https://shop.example/assets/ --soft
  sedge cache purge --tag product-7 --tag product-8
  sedge cache purge --everything`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(what.URLs)+len(what.Tags) == 0 && what.Prefix == "" && !what.Everything {
				return errors.New("nothing is named; expected --url URL, --prefix PREFIX, --tag TAG or --everything")
			}
			var done dashboard.Purged
			if err := a.askCache(cmd.Context(), flags, *format, http.MethodPost, "/api/v1/cache/purge", what, &done); err != nil || *format == "json" {
				return err
			}
			printPurged(a.stdout, done)
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&what.URLs, "url", nil, "URL to purge; may be given more than once")
	cmd.Flags().StringVar(&what.Prefix, "prefix", "", "beginning of the URLs, or of the paths on every host, to purge")
	cmd.Flags().StringArrayVar(&what.Tags, "tag", nil, "tag to purge; may be given more than once")
	cmd.Flags().BoolVar(&what.Everything, "everything", false, "purge all there is")
	cmd.Flags().BoolVar(&what.Soft, "soft", false, "make answers stale, and drop none")
	return cmd
}

func (a *app) cacheListCommand(flags *adminFlags, format *string) *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use:   "list [PREFIX]",
		Short: "Show which answers are kept",
		Example: `  sedge cache list
  sedge cache list https://shop.example/assets/
  sedge cache list /assets/ --limit 1000 --format json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			query := url.Values{"limit": {strconv.Itoa(limit)}}
			if len(args) > 0 {
				query.Set("prefix", args[0])
			}
			var list dashboard.CacheList
			if err := a.askCache(cmd.Context(), flags, *format, http.MethodGet, "/api/v1/cache?"+query.Encode(), nil, &list); err != nil || *format == "json" {
				return err
			}
			printCacheList(a.stdout, list)
			return nil
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "how many answers are shown, at most 1000")
	return cmd
}

func (a *app) cacheStatsCommand(flags *adminFlags, format *string) *cobra.Command {
	return &cobra.Command{
		Use:     "stats",
		Short:   "Show how much is kept, and what that was good for",
		Example: `  sedge cache stats`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list dashboard.CacheList
			if err := a.askCache(cmd.Context(), flags, *format, http.MethodGet, "/api/v1/cache?limit=0", nil, &list); err != nil || *format == "json" {
				return err
			}
			printCacheUsage(a.stdout, list.Usage)
			return nil
		},
	}
}

// askCache makes a call to the running node. As JSON, its answer is printed as it is.
func (a *app) askCache(ctx context.Context, flags *adminFlags, format, method, path string, sent, answer any) error {
	if err := checkFormat(format); err != nil {
		return err
	}
	_, err := flags.ask(ctx, method, path, sent, answer)
	switch {
	case errors.Is(err, errNoNode):
		return fmt.Errorf("%w; the cache lives in its memory, so there is nothing to show or purge. If it runs elsewhere, name it with --admin URL and --data-dir, or -c FILE", err)
	case err != nil || format != "json":
		return err
	}
	return a.printJSON(answer)
}

const cacheIsOff = "The cache is off (cache.disabled in the configuration): nothing is kept."

func printPurged(w io.Writer, done dashboard.Purged) {
	if done.Disabled {
		fmt.Fprintln(w, cacheIsOff)
		return
	}
	var parts []string
	if done.Stale > 0 {
		parts = append(parts, fmt.Sprintf("%s made stale.", countAnswers(done.Stale)))
	}
	if done.Dropped > 0 || done.Stale == 0 && done.Recorded == 0 {
		parts = append(parts, fmt.Sprintf("%s dropped.", countAnswers(done.Dropped)))
	}
	if done.Recorded > 0 {
		parts = append(parts, "Recorded: what it concerns is purged when it is next asked for.")
	}
	fmt.Fprintln(w, strings.Join(parts, " "))
}

func countAnswers(n int) string {
	if n == 1 {
		return "1 answer"
	}
	return fmt.Sprintf("%d answers", n)
}

func printCacheList(w io.Writer, list dashboard.CacheList) {
	switch {
	case list.Usage.Disabled:
		fmt.Fprintln(w, cacheIsOff)
		return
	case len(list.Answers) == 0:
		fmt.Fprintf(w, "No such answer is kept. In memory are %s, purged ones among them.\n", countAnswers(list.Usage.Answers))
		return
	}
	rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "STATUS\tage\tbody\thits\tvariants\tURL\ttags")
	for _, each := range list.Answers {
		status := strconv.Itoa(each.Status)
		if each.PurgedSoftly {
			status += " (stale)"
		}
		fmt.Fprintf(rows, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", status, time.Duration(each.Age)*time.Second, byteCount(int64(each.Body)),
			each.Hits, each.Variants, printable(each.URL), printable(strings.Join(each.Tags, " ")))
	}
	rows.Flush()
	if list.More {
		fmt.Fprintf(w, "There are more, %s in all; name the beginning of a URL, or a --limit up to 1000.\n", countAnswers(list.Usage.Answers))
	}
}

func printCacheUsage(w io.Writer, u dashboard.CacheUsage) {
	if u.Disabled {
		fmt.Fprintln(w, cacheIsOff)
		return
	}
	rows := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(rows, "KEPT\tnumber\tmemory\tof\tevicted")
	fmt.Fprintf(rows, "answers\t%d\t%s\t%s\t%d\n", u.Answers, byteCount(u.AnswerBytes), byteCount(u.AnswerMemory), u.Evicted)
	fmt.Fprintf(rows, "variants\t%d\t%s\t%s\t%d\n", u.Variants, byteCount(u.VariantBytes), byteCount(u.VariantMemory), u.VariantsEvicted)
	rows.Flush()
	share := "–"
	if asked := u.Hits + u.Misses; asked > 0 {
		share = fmt.Sprintf("%.1f %%", 100*float64(u.Hits)/float64(asked))
	}
	fmt.Fprintf(w, "\nSince the node started: %d hits, %d misses (%s hit), %d bypassed, %d stored, %d purges.\n",
		u.Hits, u.Misses, share, u.Bypassed, u.Stored, u.Purges)
}

// byteCount is a number of bytes for people.
func byteCount(n int64) string {
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%d B", n)
	case n < 1<<20:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

// printable is a text of others that cannot steer a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
