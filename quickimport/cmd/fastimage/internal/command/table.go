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
	if err := a.tableTo(a.stdout, header, rows); err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return nil
}

func (a *app) tableTo(out io.Writer, header []string, rows [][]string) error {
	width := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len([]rune(shown(cell))))
		}
	}
	last := len(header) - 1
	if isTerminal(out) {
		rest := a.columns(out)
		for _, w := range width[:last] {
			rest -= w + 2
		}
		if rest < min(width[last], leastLast) {
			return a.blocksTo(out, header, rows)
		}
		width[last] = min(width[last], rest)
	}
	line := func(row []string) string {
		var b strings.Builder
		for i, cell := range row[:last] {
			fmt.Fprintf(&b, "%-*s  ", width[i], shown(cell))
		}
		return b.String() + cut(shown(row[last]), width[last])
	}
	var b strings.Builder
	b.WriteString(a.painter(out)(bold, line(header)) + "\n")
	for _, row := range rows {
		b.WriteString(line(row) + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// leastLast is the least room for the last column of a table, which is cut on a
// narrow terminal.
const leastLast = 8

// blocksTo prints each row as a block of lines, for terminals that are too narrow
// for the table.
func (a *app) blocksTo(out io.Writer, header []string, rows [][]string) error {
	var b strings.Builder
	for _, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&b, "%-8s %s\n", strings.ToLower(header[i]), shown(cell))
		}
		b.WriteString("\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// cut shortens text to width characters.
func cut(text string, width int) string {
	r := []rune(text)
	if len(r) <= width {
		return text
	}
	return string(r[:width-1]) + "…"
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
