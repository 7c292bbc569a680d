package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

const adminTimeout = 10 * time.Second

func (a *app) healthcheckCommand() *cobra.Command {
	var flags adminFlags
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask the running node whether it is ready (for HEALTHCHECK in images)",
		Example: `  sedge healthcheck -c sedge.yaml
  sedge healthcheck --admin http://127.0.0.1:8090`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			base, _, err := flags.locate()
			if err != nil {
				return err
			}
			body, code, err := callAdmin(cmd.Context(), http.MethodGet, base+"/readyz?verbose", "", nil)
			if err != nil {
				return fmt.Errorf("no node answers at %s: %w", base, err)
			}
			if code != http.StatusOK {
				return fmt.Errorf("node at %s is not ready: %s", base, body)
			}
			fmt.Fprintf(a.stdout, "node at %s is ready\n", base)
			return nil
		},
	}
	flags.register(cmd)
	return cmd
}

// callAdmin asks a node's admin listener, with the token and a body in JSON where
// they are given.
func callAdmin(ctx context.Context, method, url, token string, sent []byte) (body []byte, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(sent))
	if err != nil {
		return nil, 0, err
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, 0, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 64<<20))
	return body, response.StatusCode, err
}
