package command

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/quickimport/imstest"
)

func (a *app) serveCmd() *cobra.Command {
	var listen, dir string
	cmd := &cobra.Command{
		Use:   "serve --dir DIR [--listen ADDR]",
		Short: "run a simulated cloud that keeps its state in a directory",
		Long: `Serve runs a simulated cloud: object storage, image service and project lookup,
with a bucket named images. It keeps its state in DIR, and prints the
environment that makes the other commands use it, a line each. It runs until it
is interrupted.

It is for tests: it speaks plain HTTP and its secret key is in its output. Bind
it to a loopback address.`,
		Example: `  fastimage serve --dir cloud > env &
  sleep 1; . ./env
  fastimage import --name demo --os-version "Debian GNU/Linux 12 64bit" testdata/disk.raw`,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if dir == "" {
				return usagef("no directory for the state; use --dir")
			}
			srv, err := newCloud(listen, dir)
			if err != nil {
				return err
			}
			defer srv.Close()
			if err := a.printEnv(srv); err != nil {
				return err
			}
			if !a.quiet {
				fmt.Fprintf(a.stderr, "serving on %s, state in %s; interrupt to stop\n", srv.IMSEndpoint(), dir)
			}
			<-cmd.Context().Done()
			return srv.Close()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	cmd.Flags().StringVar(&dir, "dir", "", "directory for the state, made if missing (required)")
	return cmd
}

// newCloud starts the simulated cloud with its state in dir.
func newCloud(listen, dir string) (*imstest.Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	return imstest.New(imstest.WithListen(listen), imstest.WithDir(dir))
}

// printEnv prints what a shell needs to use srv.
func (a *app) printEnv(srv *imstest.Server) error {
	for _, e := range [][2]string{
		{"HUAWEICLOUD_SDK_AK", srv.AccessKey()},
		{"HUAWEICLOUD_SDK_SK", srv.SecretKey()},
		{"HUAWEICLOUD_SDK_PROJECT_ID", srv.ProjectID()},
		{"HW_REGION_NAME", srv.Region()},
		{"FASTIMAGE_IMS_ENDPOINT", srv.IMSEndpoint()},
		{"FASTIMAGE_OBS_ENDPOINT", srv.OBSEndpoint()},
		{"FASTIMAGE_IAM_ENDPOINT", srv.IAMEndpoint()},
		{"FASTIMAGE_BUCKET", srv.Bucket()},
	} {
		if _, err := fmt.Fprintf(a.stdout, "export %s=%s\n", e[0], shellQuote(e[1])); err != nil {
			return fmt.Errorf("standard output: %w", err)
		}
	}
	return nil
}

// shellQuote leaves plain words as they are and quotes the rest.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
