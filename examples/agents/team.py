"""A team in one process: somebody who leads, somebody who plans, somebody who judges, and two who work with words.
No model is asked: each does by rule what a model would do, so that its workflows run anywhere and always alike."""
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def lead(brief):
    """Hands each sentence to a counter, then adds up what came back."""
    if brief["round"] == 1:
        sentences = [part.strip() for part in brief["goal"]["text"].split(".") if part.strip()]
        return {"tasks": [{"worker": "words.count", "input": {"text": text}} for text in sentences]}
    return {"answer": {"words": sum(result["output"]["words"] for result in brief["results"])}}


def plan(brief):
    """First loud, then counted. A first proposal with a mistake shows how one is sent back."""
    shout = {"id": "shout", "capability": "words.shout", "input": {"text": "${input.text}"}}
    text = "${steps.shout.output.text}" if brief.get("problems") else "${steps.shout.output.txt}"
    count = {"id": "count", "capability": "words.count", "after": ["shout"], "input": {"text": text}}
    return {"steps": [shout, count], "output": {"loud": "${steps.shout.output.text}", "words": "${steps.count.output.words}"}}


def judge(question):
    """The shortest answer wins."""
    best = min(question["answers"], key=lambda shown: len(json.dumps(shown["answer"])))
    return {"choice": best["label"], "confidence": 0.8, "grounds": "it is the shortest"}


def work(task):
    return {"text": task["text"].upper(), "words": len(task["text"].split())}


class Team(BaseHTTPRequestHandler):
    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["content-length"])))
        does = lead if "rounds" in given else plan if "max_steps" in given else judge if "rubric" in given else work
        answer = json.dumps(does(given)).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


ThreadingHTTPServer(("127.0.0.1", 8001), Team).serve_forever()
