package command

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// Values of --output.
const (
	outputTable = "table"
	outputJSON  = "json"
)

// listFlags choose how a list is printed.
type listFlags struct {
	output string
	json   bool
}

func (f *listFlags) add(fl *pflag.FlagSet) {
	choiceFlag(fl, &f.output, "output", outputTable, []string{outputTable, outputJSON}, "how to print the list: table or json")
	fl.BoolVar(&f.json, "json", false, "the same as --output json")
}

func (f *listFlags) asJSON() bool { return f.json || f.output == outputJSON }

// printTable prints rows below a header, in columns. What a cell holds is shown
// on one line; an empty one as "-".
func (a *app) printTable(header []string, rows [][]string) error {
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(shown(cell))))
		}
	}
	line := func(row []string) string {
		var b strings.Builder
		for i, cell := range row {
			if i == len(row)-1 {
				b.WriteString(shown(cell))
				break
			}
			fmt.Fprintf(&b, "%-*s  ", width[i], shown(cell))
		}
		return b.String()
	}
	var b strings.Builder
	b.WriteString(a.painter(a.stdout)(bold, line(header)) + "\n")
	for _, row := range rows {
		b.WriteString(line(row) + "\n")
	}
	return a.print(b.String())
}

func shown(cell string) string {
	if cell == "" {
		return "-"
	}
	return oneLine(cell)
}

// print writes to standard output, and reports a full disk or a closed pipe.
func (a *app) print(text string) error {
	if _, err := io.WriteString(a.stdout, text); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

// pairs are names and values, a line each; those without a value are left out.
func pairs(width int, list ...[2]string) []string {
	var lines []string
	for _, p := range list {
		if p[1] != "" {
			lines = append(lines, fmt.Sprintf("%-*s %s", width, p[0], p[1]))
		}
	}
	return lines
}
