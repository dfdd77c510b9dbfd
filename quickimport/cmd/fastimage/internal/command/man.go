package command

import (
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCmd writes the manual pages that packages contain.
func (a *app) manCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "man DIR",
		Short:   "write the manual pages into a directory",
		Long:    "Man writes a manual page (section 1) for each command into DIR, which is created if missing.",
		Example: "  fastimage man man1",
		Hidden:  true,
		Args:    argCount(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			root := cmd.Root()
			root.DisableAutoGenTag = true
			// The same build gives the same pages.
			built := time.Unix(0, 0).UTC()
			if t, err := time.Parse(time.RFC3339, readBuild().Time); err == nil {
				built = t
			}
			header := &doc.GenManHeader{Title: "FASTIMAGE", Section: "1", Source: "fastimage", Manual: "fastimage", Date: &built}
			return doc.GenManTree(root, header, args[0])
		},
	}
}
