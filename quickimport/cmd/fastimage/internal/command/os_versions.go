package command

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fastimage/fastimage/quickimport"
)

func (a *app) osVersionsCmd() *cobra.Command {
	var cloud cloudFlags
	var list listFlags
	var arch string
	cmd := &cobra.Command{
		Use:   "os-versions [flags]",
		Short: "list the operating systems that a region takes as --os-version",
		Long: `Os-versions lists what the region accepts as --os-version, in a table.

With --output json (or --json) it prints one object: os_versions, a list of
os_version, platform, os_type, os_bit.`,
		Example: `  fastimage os-versions --region cn-north-4 --architecture arm`,
		Args:    argCount(0, 0),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := cloud.client(a)
			if err != nil {
				return err
			}
			defer client.Close()
			found, err := client.OSVersions(cmd.Context(), quickimport.Architecture(arch))
			if err != nil {
				return err
			}
			if list.asJSON() {
				return a.printJSON(map[string][]quickimport.OSVersion{"os_versions": append([]quickimport.OSVersion{}, found...)})
			}
			var rows [][]string
			for _, v := range found {
				bits := ""
				if v.Bits > 0 {
					bits = fmt.Sprint(v.Bits)
				}
				rows = append(rows, []string{v.Platform, string(v.OSType), bits, v.Name})
			}
			return a.printTable([]string{"PLATFORM", "TYPE", "BITS", "OS VERSION"}, rows)
		},
	}
	topic(cmd, topicOutput, func(fl *pflag.FlagSet) {
		choiceFlag(fl, &arch, "architecture", "", []string{"x86", "arm"}, "only those for x86 or arm (default: all)")
		list.add(fl)
	})
	cloud.add(a, cmd)
	return cmd
}

// completeOSVersion offers what the region takes, if it can be asked.
func (a *app) completeOSVersion(cloud *cloudFlags) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		if a.loadProfile() != nil || cloud.check() != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		client, err := cloud.client(a)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		found, err := client.OSVersions(cmd.Context(), "")
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var names []string
		for _, v := range found {
			names = append(names, v.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
