package orka

import (
	"encoding/json"
	"math"
	"strings"
)

// gigabytes is what Orka counts memory in, to a tenth, as it rounds itself.
func gigabytes(mib int) float64 { return math.Round(float64(mib)/1024*10) / 10 }

func joinPorts(ports []string) string { return strings.Join(ports, ",") }

func labelsText(labels map[string]string) string {
	b, err := json.Marshal(labels)
	if err != nil {
		return "" // a map of strings has no error
	}
	return string(b)
}

func labelsOf(text string) map[string]string {
	var labels map[string]string
	if text == "" || json.Unmarshal([]byte(text), &labels) != nil {
		return nil // somebody else's words: labels are for people and decide nothing
	}
	return labels
}
