package main

import (
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
			body, code, err := adminGet(cmd.Context(), base+"/readyz?verbose", "")
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

// adminGet asks a node's admin listener, with the token where one is given.
func adminGet(ctx context.Context, url, token string) (body []byte, code int, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
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
