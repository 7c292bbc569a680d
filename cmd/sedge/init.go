package main

import (
	_ "embed"
	"fmt"
	"io"
	"net/url"
	"text/template"

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
requests that came through a proxy, they do not say so. Where that page links to its
own site by the full address, such links are mapped, or they would lead past Sedge.`,
		Example: `  sedge init --upstream https://www.example.com > sedge.yaml
  sedge serve -c sedge.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			site, err := parseSiteURL(upstream)
			if err != nil {
				return err
			}
			s := starter{URL: site}
			if !offline {
				s.URL = a.canonicalSite(cmd.Context(), site)
				s.HideVia = a.compressesForVisitorsAlone(cmd.Context(), s.URL)
				s.MapURLs = a.linksByFullAddress(cmd.Context(), s.URL)
			}
			return s.print(a.stdout)
		},
	}
	cmd.Flags().StringVar(&upstream, "upstream", "", "address of the site, as in https://www.example.com")
	cmd.Flags().BoolVar(&offline, "offline", false, "do not ask the site for its canonical address")
	cobra.CheckErr(cmd.MarkFlagRequired("upstream"))
	return cmd
}

// starter is what the starter configuration says of one site.
type starter struct {
	URL     *url.URL
	HideVia bool
	MapURLs bool
}

func (s *starter) print(w io.Writer) error {
	text, err := template.New("starter").Parse(starterTemplate)
	if err != nil {
		return fmt.Errorf("BUG: starter configuration: %w", err)
	}
	return text.Execute(w, s)
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
