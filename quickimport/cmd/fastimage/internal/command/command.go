// Package command is the command line of fastimage: its subcommands, flags,
// messages and exit statuses.
package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

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

// Process is the process around a run of the command: what the run reads from
// it and writes to it. Nothing else of the process is used but its files and
// its working directory, so that several runs can share one.
type Process struct {
	Args           []string // without the name of the program
	Stdin          io.Reader
	Stdout, Stderr io.Writer // bars are drawn if Stderr is an *os.File on a terminal
	Getenv         func(string) string

	progressEvery time.Duration // between two lines of a phase's progress; 0 is a few seconds
}

// app is what every subcommand shares.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	progressEvery  time.Duration
	quiet          bool
	verbose        bool
	progressMode   string
	resumable      bool // what is under way is recorded: the same command resumes it
}

func newApp(p Process) *app {
	return &app{stdin: p.Stdin, stdout: p.Stdout, stderr: p.Stderr, getenv: p.Getenv, progressEvery: cmp.Or(p.progressEvery, plainEvery)}
}

// Main runs the command in this process and returns its exit status. SIGINT,
// SIGTERM and SIGHUP interrupt it.
func Main() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	// The first signal asks for an orderly end; giving up the handler then
	// lets a second one end the process at once.
	context.AfterFunc(ctx, stop)
	return Run(ctx, Process{Args: os.Args[1:], Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Getenv: os.Getenv})
}

// Run runs the command until it has ended or ctx is done, and returns its exit
// status. An interruption is reported as such, and everything is cleaned up.
func Run(ctx context.Context, p Process) int {
	a := newApp(p)
	root := a.root()
	root.SetArgs(p.Args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	if ctx.Err() != nil {
		fmt.Fprintln(a.stderr, "fastimage: interrupted"+a.interruption(err))
		return exitInterrupted
	}
	for _, line := range messages(err) {
		fmt.Fprintf(a.stderr, "fastimage: %s\n", line)
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
	root.SetIn(a.stdin)
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
