package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/template"
	"time"

	"github.com/spf13/cobra"
)

//go:embed starter.yaml.tmpl
var starterTemplate string

func (a *app) initCommand() *cobra.Command {
	var upstream string
	var offline bool
	cmd := &cobra.Command{
		Use:   "init --upstream URL",
		Short: "Print a commented starter configuration for a site",
		Long: `Print a commented configuration that "sedge serve" runs as it is in front of the site.

The site is asked once for its first page: where it redirects to its canonical
address (http to https, or to www), that address becomes the upstream, since
visitors would be redirected in circles otherwise. Where it compresses nothing for
requests that came through a proxy, they do not say so.`,
		Example: `  sedge init --upstream https://www.example.com > sedge.yaml
  sedge serve -c sedge.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			site, err := parseSiteURL(upstream)
			if err != nil {
				return err
			}
			hideVia := false
			if !offline {
				site = a.canonicalSite(cmd.Context(), site)
				hideVia = a.compressesForVisitorsAlone(cmd.Context(), site)
			}
			return printStarter(a.stdout, site, hideVia)
		},
	}
	cmd.Flags().StringVar(&upstream, "upstream", "", "address of the site, as in https://www.example.com")
	cmd.Flags().BoolVar(&offline, "offline", false, "do not ask the site for its canonical address")
	cobra.CheckErr(cmd.MarkFlagRequired("upstream"))
	return cmd
}

func printStarter(w io.Writer, site *url.URL, hideVia bool) error {
	starter, err := template.New("starter").Parse(starterTemplate)
	if err != nil {
		return fmt.Errorf("BUG: starter configuration: %w", err)
	}
	return starter.Execute(w, map[string]any{"URL": site.String(), "HideVia": hideVia})
}

// parseSiteURL reads the address of a site: scheme, host and port.
func parseSiteURL(text string) (*url.URL, error) {
	const expected = "expected an address such as https://www.example.com or http://127.0.0.1:3000"
	site, err := url.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("--upstream %q is not a URL: %s", text, expected)
	}
	switch {
	case site.Scheme != "http" && site.Scheme != "https", site.Host == "":
		return nil, fmt.Errorf("--upstream %q: %s", text, expected)
	case site.User != nil:
		return nil, fmt.Errorf("--upstream %q holds a user name: leave it out", site.Redacted())
	case site.Path != "" && site.Path != "/" || site.RawQuery != "" || site.Fragment != "":
		return nil, fmt.Errorf("--upstream %q has a path: a whole site is fronted, so give only %s://%s", text, site.Scheme, site.Host)
	}
	return &url.URL{Scheme: site.Scheme, Host: site.Host}, nil
}

const (
	probeTimeout   = 8 * time.Second
	probeRedirects = 5
)

// canonicalSite follows the redirects of the site's first page to its canonical
// address. What it cannot find out it says, and keeps the address as given.
func (a *app) canonicalSite(ctx context.Context, site *url.URL) *url.URL {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	found := site
	for range probeRedirects {
		next, err := redirectTarget(ctx, client, found)
		if err != nil {
			fmt.Fprintf(a.stderr, "note: %s did not answer (%v); the configuration is written for it all the same\n", found, err)
			return site
		}
		if next == nil {
			break
		}
		found = next
	}
	if *found != *site {
		fmt.Fprintf(a.stderr, "note: %s redirects to %s, which is written as the upstream\n", site, found)
	}
	return found
}

// redirectTarget returns the site that the first page redirects to, nil for none.
func redirectTarget(ctx context.Context, client *http.Client, site *url.URL) (*url.URL, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, site.String()+"/", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "sedge-init")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	location, err := response.Location()
	if response.StatusCode/100 != 3 || err != nil {
		return nil, nil //nolint:nilerr // an answer without a usable Location is no redirect
	}
	next := &url.URL{Scheme: location.Scheme, Host: location.Host}
	if *next == *site || next.Scheme != "http" && next.Scheme != "https" || !canonicalRedirect(site, location) {
		return nil, nil
	}
	return next, nil
}

// canonicalRedirect tells a redirect to the site's proper address from one to
// somewhere else, such as a log-in page on another host: it keeps the path, or it
// only changes scheme, port or "www.".
func canonicalRedirect(site, location *url.URL) bool {
	bare := func(u *url.URL) string { return strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.") }
	return location.Path == "" || location.Path == "/" || bare(site) == bare(location)
}

// compressesForVisitorsAlone reports whether the first page comes compressed, but not
// for a request that says that it came through a proxy, as nginx does by default.
func (a *app) compressesForVisitorsAlone(ctx context.Context, site *url.URL) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if !compressed(ctx, site, "") || compressed(ctx, site, "1.1 sedge") {
		return false
	}
	fmt.Fprintf(a.stderr, "note: %s compresses nothing for requests with a Via header, so they will have none\n", site)
	return true
}

func compressed(ctx context.Context, site *url.URL, via string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, site.String()+"/", nil)
	if err != nil {
		return false
	}
	request.Header.Set("User-Agent", "sedge-init")
	request.Header.Set("Accept-Encoding", "gzip")
	if via != "" {
		request.Header.Set("Via", via)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.Header.Get("Content-Encoding") != ""
}
