package command

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// fileArguments says how many arguments of a command are files. What follows
// them, or is the only argument of create and uploads, is an object.
var fileArguments = map[string]int{
	"import": 1000, "convert": 2, "info": 1, "check": 1, "verify": 1, "optimize": 2, "bitmap": 2, "infer": 2, "upload": 1,
}

var objectArgument = []string{"create", "upload", "list", "abort"}

// complete makes shells offer the values that arguments and flags take: by
// default they offer the files of the directory for everything.
func complete(cmd *cobra.Command) {
	add := func(f *pflag.Flag) {
		var how cobra.CompletionFunc
		switch c, few := f.Value.(interface{ values() []string }); {
		case few:
			how = cobra.FixedCompletions(c.values(), cobra.ShellCompDirectiveNoFileComp)
		case slices.Contains([]string{"references", "state-dir", "temp-dir", "dir"}, f.Name):
			how = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		case slices.Contains([]string{"against", "mf", "manifest", "env-file"}, f.Name):
			return // files
		default:
			how = cobra.NoFileCompletions
		}
		_ = cmd.RegisterFlagCompletionFunc(f.Name, how) // fails only for a flag that is not there
	}
	cmd.PersistentFlags().VisitAll(add)
	cmd.LocalNonPersistentFlags().VisitAll(add)
	if cmd.RunE != nil && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = completeArgument
	}
	for _, c := range cmd.Commands() {
		complete(c)
	}
}

func completeArgument(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	files := fileArguments[cmd.Name()]
	switch {
	case len(args) < files:
		return nil, cobra.ShellCompDirectiveDefault
	case len(args) == files && slices.Contains(objectArgument, cmd.Name()):
		return []string{obsScheme}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// ownHelp makes the commands that cobra adds refuse unknown arguments as the
// others do: by default they print a help text and succeed.
func (a *app) ownHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Short, cmd.Run, cmd.GroupID = "help about any command", nil, groupOther
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				about, rest, err := cmd.Root().Find(args)
				if err != nil {
					return unknownCommand(cmd.Root(), args[0])
				}
				if len(rest) > 0 {
					return unknownCommand(about, rest[0])
				}
				about.InitDefaultHelpFlag()
				a.help(about)
				return nil
			}
		case "completion":
			cmd.Short, cmd.GroupID = "print the script by which a shell completes commands and flags", groupOther
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return unknownCommand(cmd, args[0])
				}
				a.help(cmd)
				return nil
			}
			for _, shell := range cmd.Commands() {
				shell.Args = argCount(0, 0)
			}
		}
	}
}
