// Command fastimage turns disk images into private images of a Huawei
// Cloud, and converts, inspects and serves what that takes.
//
// Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused before anything was
// uploaded, 4 the job failed in the cloud, 130 interrupted. Errors are on
// standard error, prefixed "fastimage: ".
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fastimage/fastimage/quickimport"
)

// The exit statuses scripts may rely on.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUsage       = 2
	exitRefused     = 3
	exitJobFailed   = 4
	exitInterrupted = 130
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// app is what every subcommand shares.
type app struct {
	stdout, stderr io.Writer
	quiet          bool
	verbose        bool
	progressMode   string
	resumable      bool // what is under way is recorded: the same command goes on
}

func run(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// The first signal asks for an orderly end; giving up the handler then
	// lets a second one end the process at once.
	context.AfterFunc(ctx, stop)

	a := &app{stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		fmt.Fprintln(stderr, "fastimage: interrupted"+a.interruption(err))
		return exitInterrupted
	}
	for _, line := range messages(err) {
		fmt.Fprintf(stderr, "fastimage: %s\n", line)
	}
	return status(err)
}

// status is the exit status for an error.
func status(err error) int {
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	if errors.Is(err, quickimport.ErrValidation) {
		return exitRefused
	}
	if _, ok := errors.AsType[*quickimport.JobError](err); ok {
		return exitJobFailed
	}
	return exitFailed
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "fastimage",
		Short: "disk images to private images of a Huawei Cloud",
		Long: `fastimage converts a disk image to ZVHD2 while it uploads it to OBS, has the
image service import it, and waits for the image.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused before anything was
uploaded, 4 the job failed in the cloud, 130 interrupted.`,
		Version:       readBuild().String(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see 'fastimage --help'", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return usagef("no command given; see 'fastimage --help'")
		},
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "no progress and no summary")
	root.PersistentFlags().StringVar(&a.progressMode, "progress", progressAuto, "how to show progress: auto, bar, plain or none")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains([]string{progressAuto, progressBar, progressPlain, progressNone}, a.progressMode) {
			return usagef("--progress %q: want auto, bar, plain or none", a.progressMode)
		}
		return nil
	}
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "log retries, warnings and clean-ups to standard error")
	root.AddCommand(a.importCmd(), a.convertCmd(), a.infoCmd(), a.verifyCmd(), a.optimizeCmd(), a.bitmapCmd(), a.uploadCmd(), a.uploadsCmd(),
		a.createCmd(), a.jobCmd(), a.imagesCmd(), a.doctorCmd(), a.serveCmd(), a.versionCmd())
	ownHelp(root)
	complete(root)
	return root
}

// argCount accepts between least and most arguments, and names them if not.
func argCount(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return usagef("%d arguments given; usage: %s", len(args), cmd.UseLine())
		}
		return nil
	}
}
