package command

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/internal/atomicfile"
	"github.com/fastimage/fastimage/internal/filelock"
	"github.com/fastimage/fastimage/quickimport/imstest"
)

// serveFlags are those of serve.
type serveFlags struct {
	listen, dir, envFile string
	faults               []string
}

func (a *app) serveCmd() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve --dir DIR [--listen ADDR] [--env-file FILE] [--fault FAULT]...",
		Short: "run a simulated cloud that keeps its state in a directory",
		Long: `Serve runs a simulated cloud: object storage, image service and project lookup,
with a bucket named images. It keeps its state in DIR, and prints the
environment that makes the other commands use it, one variable a line. With
--env-file it writes the environment to a file instead, which appears once the
cloud answers: scripts wait for it. Serve runs until it is interrupted. A second
one on the same directory is refused.

--fault OPERATION:FAULT[,PARAMETER=VALUE...][:COUNT] makes requests fail, as
imstest.ParseFault documents; it may be repeated:

  --fault create:504-after-accept:1   the first creation is carried out and
                                      answered with 504
  --fault upload-part:503:3           three parts are refused

Serve is for tests: it speaks plain HTTP, and everyone knows its secret key. Use
a loopback address.`,
		Example: `  fastimage serve --dir cloud --env-file cloud.env &
  until [ -e cloud.env ]; do sleep 0.1; done; . ./cloud.env
  fastimage import --name demo --os-version "Debian GNU/Linux 12 64bit" testdata/disk.raw`,
		Args: argCount(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.serve(cmd, &f)
		},
	}
	cmd.Flags().SortFlags = false
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory for the state, created if missing (required)")
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:0", "address to listen on; port 0 picks a free one")
	cmd.Flags().StringVar(&f.envFile, "env-file", "", "write the environment to this file once the cloud answers; it is removed at the end")
	cmd.Flags().StringArrayVar(&f.faults, "fault", nil, "make requests fail; may be repeated")
	return cmd
}

func (a *app) serve(cmd *cobra.Command, f *serveFlags) (err error) {
	if f.dir == "" {
		return usagef("no directory for the state; use --dir")
	}
	faults, err := parseFaults(f.faults)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return err
	}
	if f.envFile != "" { // that of an earlier run would be taken for this one's
		if err := os.Remove(f.envFile); err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	srv, err := imstest.New(imstest.WithListen(f.listen), imstest.WithDir(f.dir))
	if errors.Is(err, filelock.ErrHeld) {
		return advisef("stop that 'fastimage serve', or choose another --dir", "%s: %w", f.dir, err)
	}
	if err != nil {
		return err
	}
	defer srv.Close()
	srv.Fail(faults...)
	if err := a.announce(srv, f.envFile); err != nil {
		return err
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "serving on %s, state in %s; interrupt to stop\n", srv.IMSEndpoint(), f.dir)
	}
	<-cmd.Context().Done()
	if f.envFile != "" {
		_ = os.Remove(f.envFile) // the cloud it names is gone
	}
	return srv.Close()
}

// parseFaults reads the values of --fault.
func parseFaults(texts []string) ([]imstest.Fault, error) {
	var faults []imstest.Fault
	for _, text := range texts {
		f, err := imstest.ParseFault(text)
		if err != nil {
			return nil, usagef("--fault %q: %w", text, err)
		}
		faults = append(faults, f)
	}
	return faults, nil
}

// announce publishes what a shell needs to use srv.
func (a *app) announce(srv *imstest.Server, file string) error {
	var b strings.Builder
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
		fmt.Fprintf(&b, "export %s=%s\n", e[0], shellQuote(e[1]))
	}
	if file == "" {
		return a.print(b.String())
	}
	out, err := atomicfile.Create(file, 0o600)
	if err != nil {
		return err
	}
	if _, err := out.Write([]byte(b.String())); err != nil {
		return errors.Join(err, out.Abort())
	}
	return out.Commit()
}

// shellQuote leaves plain words as they are and quotes the rest.
func shellQuote(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
