// Package command is the command line of fastimage: its subcommands, flags,
// messages and exit statuses.
package command

import (
	"cmp"
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	profile        string
	resumable      bool // what is under way is recorded: the same command resumes it
	interrupted    bool // the run was
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
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitDone
	}
	a.interrupted = ctx.Err() != nil
	return a.fail(cmd, p.Args, err)
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "fastimage",
		Short: "turn disk images into private images on Huawei Cloud",
		Long: `fastimage turns a disk image into a private image on Huawei Cloud: it converts the
image to ZVHD2 while uploading it, has the image service import it, and waits
until the image is ready.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 refused before anything was
uploaded, 4 the job failed in the cloud, 130 interrupted.

` + unitsHelp + `

` + precedenceHelp,
		Version:           readBuild().String(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noSuchCommand,
		RunE:              needsCommand,
		PersistentPreRunE: func(*cobra.Command, []string) error { return a.loadProfile() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.help(cmd) })
	a.globalFlags(root.PersistentFlags())
	root.AddGroup(groups()...)
	add := func(group string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add(groupCloud, a.importCmd(), a.createCmd(), a.jobCmd(), a.imagesCmd(), a.osVersionsCmd(), a.uploadCmd(), a.uploadsCmd(), a.stateCmd(), a.doctorCmd())
	add(groupFiles, a.infoCmd(), a.checkCmd(), a.convertCmd(), a.verifyCmd(), a.optimizeCmd(), a.bitmapCmd())
	add(groupOther, a.serveCmd(), a.versionCmd())
	root.AddCommand(a.manCmd(), credentialsTopic())
	a.ownHelp(root)
	complete(root)
	return root
}

func (a *app) globalFlags(fl *pflag.FlagSet) {
	fl.BoolVarP(&a.quiet, "quiet", "q", false, "print no progress and no summary")
	choiceFlag(fl, &a.progressMode, "progress", progressAuto, []string{progressAuto, progressBar, progressPlain, progressNone}, "how to show progress: auto, bar, plain or none")
	fl.BoolVarP(&a.verbose, "verbose", "v", false, "log retries, warnings and clean-ups to standard error")
	fl.StringVar(&a.profile, "profile", "", "read credentials, region, endpoints and bucket from this profile (default FASTIMAGE_PROFILE)")
}

// noSuchCommand refuses the arguments of a command that has only subcommands.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return unknownCommand(cmd, args[0])
	}
	return nil
}

func needsCommand(cmd *cobra.Command, _ []string) error {
	return usagef("no command given; see '%s --help'", cmd.CommandPath())
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
