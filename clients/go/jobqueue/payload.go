package jobqueue

import (
	"bytes"
	"encoding/json"
)

// encode writes a value as JSON text. A json.RawMessage is taken byte for byte, where json.Marshal would compact it;
// nil is no text at all.
func encode(value any) ([]byte, error) {
	switch value := value.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		return value, nil
	case *json.RawMessage:
		if value == nil {
			return nil, nil
		}
		return *value, nil
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	// `<` stays `<`: this is no HTML.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
