package command

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/zvhd2"
)

// flagValues are the values of flags that take one of a few.
func flagValues() map[string][]string {
	var formats, levels []string
	for _, f := range anyimage.Formats() {
		formats = append(formats, string(f))
	}
	for l := zvhd2.LevelFastest; l <= zvhd2.LevelAuto; l++ {
		levels = append(levels, l.String())
	}
	containers := []string{"zvhd2", "raw"}
	return map[string][]string{
		"api-version":   {"v2", "v2.1"},
		"architecture":  {"x86", "arm"},
		"firmware":      {"bios", "uefi"},
		"format":        containers,
		"level":         levels,
		"license":       {"platform", "byol"},
		"os-type":       {"Linux", "Windows"},
		"progress":      {progressAuto, progressBar, progressPlain, progressNone},
		"source-format": formats,
		"to":            containers,
		"type":          {"ECS", "BMS", "DataImage"},
	}
}

// fileArguments says how many arguments of a command are files. What follows
// them, and stands alone with create and uploads, is an object.
var fileArguments = map[string]int{
	"import": 1, "convert": 2, "info": 1, "verify": 1, "optimize": 2, "bitmap": 2, "infer": 2, "upload": 1,
}

var objectArgument = []string{"create", "upload", "list", "abort"}

// complete tells shells what the arguments and flags of all commands take:
// without it they offer the files of the directory for everything.
func complete(cmd *cobra.Command) {
	values := flagValues()
	add := func(f *pflag.Flag) {
		var how cobra.CompletionFunc
		switch v, few := values[f.Name]; {
		case few:
			how = cobra.FixedCompletions(v, cobra.ShellCompDirectiveNoFileComp)
		case slices.Contains([]string{"references", "state-dir", "dir"}, f.Name):
			how = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
		case f.Name == "against", f.Name == "mf":
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

// ownHelp makes the commands that the library adds refuse what they do not know
// as the others do: of themselves they print a help text and succeed.
func ownHelp(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Short, cmd.Run = "help about any command", nil
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				about, rest, err := cmd.Root().Find(args)
				if err != nil || len(rest) > 0 {
					return usagef("no command %q to help with; see 'fastimage --help'", strings.Join(args, " "))
				}
				about.InitDefaultHelpFlag()
				return about.Help()
			}
		case "completion":
			cmd.Short = "print the script by which a shell completes commands and flags"
			cmd.Args = cobra.ArbitraryArgs
			cmd.RunE = func(cmd *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usagef("no script for %q; see 'fastimage completion --help'", args[0])
				}
				return cmd.Help()
			}
			for _, shell := range cmd.Commands() {
				shell.Args = argCount(0, 0)
			}
		}
	}
}
