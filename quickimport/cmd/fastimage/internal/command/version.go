package command

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// build is what version --json prints. The names are stable.
type build struct {
	Version  string `json:"version"`  // "(devel)" for a build outside of a release
	Revision string `json:"revision"` // commit, "" if not known
	Modified bool   `json:"modified"` // built from a changed checkout
	Time     string `json:"time"`     // of the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// readBuild is what the go command recorded when it built the binary.
func readBuild() build {
	b := build{Version: "(devel)", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Revision = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (b build) String() string {
	s := b.Version
	if b.Revision != "" {
		s += " (" + b.Revision[:min(12, len(b.Revision))]
		if b.Modified {
			s += ", modified"
		}
		s += ")"
	}
	return s + " " + b.Go + " " + b.Platform
}

func (a *app) versionCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "print the version of fastimage",
		Long:    "Version prints what the go command recorded of this build.\n\nWith --json it prints one object: version, revision, modified, time, go, platform.",
		Example: "  fastimage version --json",
		Args:    argCount(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			if asJSON {
				return a.printJSON(readBuild())
			}
			_, err := fmt.Fprintln(a.stdout, "fastimage", readBuild())
			return err
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) { jsonFlag(fl, &asJSON) })
	return cmd
}
