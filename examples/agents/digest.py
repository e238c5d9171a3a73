"""Two agents in one process: one sums up a text, the other looks at what came of it. Neither asks a model: each does by
rule what one would do, so that the workflow runs anywhere and always alike."""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def digest(task):
    """The first sentence; once it has been refused, no more words of it than fit."""
    sentence = task["text"].split(".")[0]
    if "repair" in task:
        while len(sentence) > task["most"]:
            sentence = sentence.rsplit(" ", 1)[0]
    return {"text": sentence}


def check(shown):
    """How many of its words stand in the text that was summed up."""
    words = shown["output"]["text"].split()
    strange = [word for word in words if word not in shown["input"]["text"]]
    score = 1 - len(strange) / max(len(words), 1)
    return {"score": score, "grounds": [f"`{word}` does not stand in the text" for word in strange]}


class Agents(BaseHTTPRequestHandler):
    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer = json.dumps(check(given) if "output" in given else digest(given)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", 8002), Agents).serve_forever()
